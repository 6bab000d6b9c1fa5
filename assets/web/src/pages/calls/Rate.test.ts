import { expect, test } from "vitest";
import { bucketName, ticksOf } from "./Rate";

test.each([[1, [0]], [2, [0, 1, 2]], [30, [0, 5, 10, 15, 20, 25, 30]], [61, [0, 11, 22, 33, 44, 61]]])("times of %d buckets", (length, wanted) => expect(ticksOf(length)).toEqual(wanted));
test.each([[60, "a minute"], [300, "5 minutes"], [3600, "an hour"], [86_400, "a day"]])("%d seconds are %s", (seconds, wanted) => expect(bucketName(seconds)).toBe(wanted));

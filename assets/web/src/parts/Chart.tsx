import { lazy, Suspense } from "react";
import type { ChartProps } from "./Plot";
import { Skeleton } from "./States";

const Plot = lazy(() => import("./Plot"));

/** Lines over time on a canvas, for a thousand points and more; uPlot is fetched with the first of them. */
export function Chart(props: ChartProps) {
  const height = props.height ?? 200;
  return (
    <Suspense fallback={<Skeleton rows={Math.round(height / 36)} />}>
      <Plot {...props} />
    </Suspense>
  );
}

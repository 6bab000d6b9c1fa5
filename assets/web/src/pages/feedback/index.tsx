import { setParams, useParam } from "../../app/address";
import { Tabs } from "../../parts/Tabs";
import "./feedback.css";
import { Ratings } from "./Ratings";
import { Votes } from "./Votes";

const TABS = [{ value: "ratings", text: "Ratings" }, { value: "votes", text: "Votes" }];

/** What people said of answers: ratings of requests, and votes on responses. */
export default function Feedback() {
  const [tab] = useParam("of", "ratings");
  const tabs = <Tabs label="What is shown" choices={TABS} value={tab} onChange={(value) => setParams({ of: value === "ratings" ? null : value, prompt: null, show: null, call: null, score: null })} />;
  return tab === "votes" ? <Votes tabs={tabs} /> : <Ratings tabs={tabs} />;
}

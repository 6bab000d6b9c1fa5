import { useEffect, useRef, useState } from "react";
import { ApiError, postJson } from "../api/client";
import { queries, useRead } from "../api/useRead";
import { href } from "../app/address";
import { number } from "./format";

/** Start a run of suites, say how far it is, and lead to it when it is done. */
export function RunButton({ suites, text, go = false, small = false, options }: {
  suites: string[];
  text: string;
  go?: boolean;
  small?: boolean;
  /** How they run, as POST /api/runs names it: prompt_version, compare, repeats ... */
  options?: Record<string, string | number>;
}) {
  const [jobs, setJobs] = useState<string[]>([]);
  const [fault, setFault] = useState<string | null>(null);
  const [starting, setStarting] = useState(false);
  const start = async () => {
    setFault(null);
    setStarting(true);
    setJobs([]);
    try {
      for (const suite of suites) {
        const { job } = await postJson<{ job: string }>("/api/runs", { suite, ...options });
        setJobs((was) => [...was, job]);
      }
    } catch (error) {
      setFault(error instanceof ApiError ? [error.message, error.hint].filter(Boolean).join(" ") : String(error));
    }
    setStarting(false);
  };
  return (
    <>
      {fault && <span className="bad" role="alert">{fault}</span>}
      {jobs.map((job) => <JobState key={job} id={job} />)}
      <button type="button" className={`btn${go ? " go" : ""}${small ? " small" : ""}`} disabled={starting || !suites.length} onClick={start}>{text}</button>
    </>
  );
}

function JobState({ id }: { id: string }) {
  const { data, error, refetch } = useRead("job", { id });
  const told = useRef(false);
  const running = data?.state === "running";
  useEffect(() => {
    if (!running) return;
    const timer = window.setInterval(() => void refetch(), 700);
    return () => window.clearInterval(timer);
  }, [running, refetch]);
  useEffect(() => {
    if (!data || running || told.current) return;
    told.current = true;
    void queries.invalidateQueries();
  }, [data, running]);
  if (error) return <span className="bad" role="alert">{error.message}</span>;
  if (!data) return <span className="dim" role="status">starting</span>;
  if (running) {
    return (
      <span className="dim nowrap" role="status">
        {data.total ? `${number(data.done)} of ${number(data.total)}` : "running"}{" "}
        <button type="button" className="link" onClick={() => void postJson(`/api/job/${encodeURIComponent(id)}/cancel`).then(() => refetch())}>Stop</button>
      </span>
    );
  }
  if (data.state === "done" && data.run_id) return <a href={href(`/run/${encodeURIComponent(data.run_id)}`)}>Run {data.run_id}</a>;
  return <span className={data.state === "failed" ? "bad" : "dim"} role="status">{(typeof data.error === "string" ? data.error : data.error?.message) || data.message || data.state}</span>;
}

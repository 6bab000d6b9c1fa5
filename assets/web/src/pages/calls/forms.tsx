import { useId, useState } from "react";
import { useRead, useWrite } from "../../api/useRead";
import { href } from "../../app/address";
import { Mark } from "../../parts/Mark";
import { ErrorBox } from "../../parts/States";

/** Rate a request: a thumb, and a comment if there is one. */
export function RateForm({ request }: { request: string }) {
  const [comment, setComment] = useState("");
  const write = useWrite<{ id: string }, Record<string, unknown>>("/api/feedback");
  const send = (rating: number | null) =>
    write.mutate({ request_id: request, rating, comment: comment.trim() || null, source: "dashboard" }, { onSuccess: () => setComment("") });
  return (
    <form className="line" onSubmit={(event) => {
      event.preventDefault();
      if (comment.trim()) send(null);
    }}>
      <input type="text" aria-label="Comment on the answer" placeholder="comment" value={comment} onChange={(event) => setComment(event.target.value)} />
      <button type="button" className="btn small" disabled={write.isPending} onClick={() => send(1)}><span className="good"><Mark shape="up" /></span>Good</button>
      <button type="button" className="btn small" disabled={write.isPending} onClick={() => send(0)}><span className="bad"><Mark shape="down" /></span>Bad</button>
      {write.error && <ErrorBox error={write.error} />}
      {write.isSuccess && <span className="cap" role="status">Kept as what the dashboard said.</span>}
    </form>
  );
}

/** Put a call or a vote into a dataset, as a new version of it. */
export function CaseForm({ of }: { of: { call: string } | { vote: string } }) {
  const datasets = useRead("datasets", { limit: 200 });
  const [name, setName] = useState("");
  const list = useId();
  const write = useWrite<{ name: string; version: number; added: boolean; item: { id: string } }, { name: string; call?: string; vote?: string }>("/api/datasets/add");
  const names = datasets.data?.items.map((item) => item.name) ?? [];
  return (
    <form className="line" onSubmit={(event) => {
      event.preventDefault();
      write.mutate({ name: name.trim(), ...of });
    }}>
      <input type="text" required aria-label="Dataset" list={list} placeholder={names[0] ? `dataset, such as ${names[0]}` : "name of a new dataset"} value={name} onChange={(event) => setName(event.target.value)} />
      <datalist id={list}>{names.map((one) => <option key={one} value={one} />)}</datalist>
      <button className="btn small" disabled={write.isPending || !name.trim()}>Make it a case</button>
      {write.error && <ErrorBox error={write.error} />}
      {write.data && (
        <span className="cap" role="status">
          {write.data.added ? "It is item" : "It was there already as item"} <span className="mono">{write.data.item.id}</span> of{" "}
          <a href={href("/dataset", { name: write.data.name, version: write.data.version, item: write.data.item.id })}>{write.data.name}@{write.data.version}</a>.
        </span>
      )}
    </form>
  );
}

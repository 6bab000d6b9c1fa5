import { useState } from "react";
import { usePath, useWrite } from "../../api/useRead";
import { queryOf } from "../../api/client";
import { href } from "../../app/address";
import { Patch } from "../../parts/Diff";
import { Dialog } from "../../parts/Dialog";
import { splitVersion } from "../../parts/findings";
import { ErrorBox, Loaded } from "../../parts/States";

/** Move a tag from the version that is served to the one before, after showing what that changes. */
export function RollBack({ before, now, diff, onClose }: { before: string; now: string; diff: string | null; onClose: () => void }) {
  const { name, version } = splitVersion(before);
  const served = splitVersion(now);
  const query = usePath<{ tags: string[] }>(`/api/prompt${queryOf({ name, version: served.version })}`);
  const promote = useWrite<unknown, { name: string; version: number; tag: string }>("/api/promote");
  const [chosen, setChosen] = useState<string | null>(null);
  const tags = query.data?.tags ?? [];
  const tag = chosen ?? (tags.includes("prod") ? "prod" : tags[0]);
  return (
    <Dialog
      title={`Roll ${name} back to version ${version}`}
      onClose={onClose}
      foot={
        promote.isSuccess ? (
          <button type="button" className="btn go" onClick={onClose}>Close</button>
        ) : (
          <>
            <button type="button" className="btn" onClick={onClose}>Cancel</button>
            {tag && <button type="button" className="btn go" disabled={promote.isPending} onClick={() => promote.mutate({ name, version: Number(version), tag })}>Serve version {version} on {tag}</button>}
          </>
        )
      }
    >
      {promote.isSuccess ? (
        <p role="status">{name} is served as version {version} on {promote.variables.tag}. Processes that run read it within their next look at the store.</p>
      ) : (
        <Loaded query={query} rows={2}>
          {() =>
            tags.length ? (
              <>
                <p>
                  The tag{" "}
                  {tags.length > 1 ? <select aria-label="The tag to move" value={tag} onChange={(event) => setChosen(event.target.value)}>{tags.map((one) => <option key={one}>{one}</option>)}</select> : <span className="tag on">{tag}</span>}{" "}
                  moves from version {served.version} to version {version}. No version is lost.
                </p>
                {diff && <><p className="cap">What version {served.version} had changed, and what is taken back:</p><Patch patch={diff} /></>}
              </>
            ) : (
              <p>No tag stands on version {served.version}, so nothing serves it: there is nothing to roll back. <a href={href("/prompt", { name, version })} onClick={onClose}>Open version {version}</a></p>
            )
          }
        </Loaded>
      )}
      {promote.error && <ErrorBox error={promote.error} />}
    </Dialog>
  );
}

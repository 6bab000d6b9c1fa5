import { routeOf } from "../api/client";
import type { SqlOf } from "../api/useRead";
import { useSql } from "../api/useRead";
import { Code } from "./Copy";
import { Drawer } from "./Drawer";
import { counted } from "./format";
import { Loaded } from "./States";

/** The SQL behind what is shown: pasted into sqlite3 it gives the same rows; what no SQL computes is named. */
export function SqlDrawer({ title, sql, onClose }: { title: string; sql: SqlOf[]; onClose: () => void }) {
  return (
    <Drawer title={`SQL of ${title}`} onClose={onClose} wide>
      {sql.map((one) => <Statements key={routeOf(one.read, one.params)} sql={one} />)}
    </Drawer>
  );
}

function Statements({ sql }: { sql: SqlOf }) {
  const query = useSql(sql);
  return (
    <Loaded query={query} rows={8}>
      {(shown) => (
        <>
          <p className="cap">
            {counted(shown.statements.length, "statement")} of <span className="mono">{shown.read}</span>. Paste one after{" "}
            <span className="mono">sqlite3 store.db</span>: it prints the same rows.
          </p>
          {shown.statements.map((statement, at) => <Code key={at} text={statement.script} label={`Statement ${at + 1}`} />)}
          {shown.computed.length > 0 && (
            <>
              <h3>Computed from the rows</h3>
              <dl className="kv computed">
                {shown.computed.map((value) => (
                  <div key={value.key}>
                    <dt>{value.key}</dt>
                    <dd><span className="mono">{value.function}</span><span className="dim"> of {inputsOf(value.inputs)}</span></dd>
                  </div>
                ))}
              </dl>
            </>
          )}
        </>
      )}
    </Loaded>
  );
}

function inputsOf(inputs: unknown): string {
  if (Array.isArray(inputs)) return inputs.map(inputsOf).join(", ");
  if (inputs && typeof inputs === "object") {
    return Object.entries(inputs).map(([name, value]) => `${name} ${inputsOf(value)}`).join(", ");
  }
  return String(inputs ?? "nothing");
}

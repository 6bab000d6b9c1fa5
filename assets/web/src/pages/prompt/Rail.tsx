import type { Prompt } from "../../api/types";
import { href, useParams } from "../../app/address";
import { counted } from "../../parts/format";
import { Section } from "../../parts/Section";
import { Time } from "../../parts/Time";
import { useShort } from "../../parts/useShort";

const MOST = 14;

/** Every version, newest first, with the tags that serve it; a press shows it. */
export function Rail({ prompt, version, base, tag }: { prompt: Prompt; version: number; base: number | null; tag: string }) {
  const params = useParams();
  const { shown, hidden, showAll } = useShort(prompt.versions, MOST, (row) => row.version === version || row.version === base || row.tags.length > 0);
  const to = (number: number) => href("/prompt", { name: prompt.name, version: number, env: params.get("env"), view: params.get("view"), all: params.get("all"), vars: params.get("vars") });
  return (
    <Section title="Versions" note={prompt.versions.length} className="versions">
      <ol className="rail" data-rows>
        {shown.map((row) => (
          <li key={row.version} className={row.version === version ? "on" : row.version === base ? "base" : undefined}>
            <a data-row href={to(row.version)} aria-current={row.version === version ? "true" : undefined}>
              <b>{row.version}</b>
              {row.version === prompt.version && <span className="tag">latest</span>}
              {row.tags.map((one) => <span key={one} className={one === tag ? "tag on" : "tag"}>{one}</span>)}
              <p><Time at={row.created_at} show="when" />{row.version === base && <span className="vh">, held against</span>}</p>
            </a>
          </li>
        ))}
      </ol>
      {hidden > 0 && <button type="button" className="link cap" onClick={showAll}>{counted(hidden, "older version")} more</button>}
    </Section>
  );
}

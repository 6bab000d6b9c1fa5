import { useRead } from "../api/useRead";
import { Code, Copy } from "../parts/Copy";
import { bytes } from "../parts/format";
import { Head } from "../parts/Head";
import { Section } from "../parts/Section";

const RECORD = `from promptry import track, track_invocation

text = track("You are the support agent of $shop.", "support/answer")
reply = client.responses.create(model="gpt-4.1-mini", instructions=text, input=question)
track_invocation("support/answer", usage=reply.usage, model=reply.model)`;

const GUARD = `from promptry import assert_contains, suite

@suite("support-answers", dataset="qa")
def answers(item):
    assert_contains(answer(item["question"]), item["expected"])`;

const LINES: [string, string, string][] = [
  ["Suites, Compare", "a run", "promptry run"],
  ["Prompts", "a tracked or saved text", "promptry prompt save support/answer answer.txt"],
  ["Datasets", "a file of items", "promptry dataset save questions.json"],
  ["Budgets", "a limit", "promptry budget set global --limit 600"],
  ["Feedback", "a rating with a request id", "promptry feedback add REQUEST_ID --rating 1"],
];

/** Home of an empty store: three ways in, then the one line for each page. */
export function FirstStart() {
  const settings = useRead("settings");
  const store = settings.data?.store;
  return (
    <>
      <Head
        title="Home"
        crumbs={[{ text: "Home" }]}
        actions={<span className="dim nowrap"><span className="live" />watching</span>}
        sentence="Nothing recorded yet. Three lines of code, or one command, fill this page."
        why="This page watches the store and shows the first row about two seconds after it is written."
      />
      <ol className="steps">
        <li>
          <div><h2>Look around first</h2><p>A folder of its own with a store of real runs, and one regression to find.</p></div>
          <Code text="promptry demo" />
        </li>
        <li>
          <div><h2>Record your calls</h2><p>One row a call, with tokens and cost. It never raises into your code.</p></div>
          <Code text={RECORD} python />
        </li>
        <li>
          <div><h2>Guard a prompt</h2><p>A suite is a function with assertions. The second run is compared with the first.</p></div>
          <div><Code text={GUARD} python /><div className="gap" /><Code text="promptry run support-answers --compare prod" /></div>
        </li>
      </ol>
      <Section title="Then each page fills itself">
        <div className="scroll">
          <table className="dense">
            <thead><tr><th scope="col">Page</th><th scope="col">Needs</th><th scope="col">The one line</th><th scope="col"><span className="vh">Copy</span></th></tr></thead>
            <tbody>
              {LINES.map(([page, needs, line]) => (
                <tr key={page}><td>{page}</td><td className="mid">{needs}</td><td className="mono w99">{line}</td><td className="num"><Copy text={line} /></td></tr>
              ))}
            </tbody>
          </table>
        </div>
      </Section>
      {store && <p className="cap store">Reading <span className="mono">{store.path}</span>, {bytes(store.bytes)}.</p>}
    </>
  );
}

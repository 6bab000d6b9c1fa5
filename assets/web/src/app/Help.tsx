import { Dialog } from "../parts/Dialog";
import { NAV_ITEMS } from "./nav";

const KEYS: [string[], string][] = [
  [["/"], "Jump to a page, suite, prompt, dataset or run"],
  [["f"], "Filter what is shown"],
  [["j", "k"], "Next row, previous row"],
  [["Enter"], "Open the row"],
  [["Esc"], "Close what is open"],
  [["e"], "Edit"],
  [["?"], "These keys"],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl className="keylist">
        {KEYS.map(([keys, text]) => (
          <div key={text}><dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt><dd>{text}</dd></div>
        ))}
        {NAV_ITEMS.filter((item) => item.key).map((item) => (
          <div key={item.path}><dt><kbd>g</kbd><kbd>{item.key}</kbd></dt><dd>Go to {item.text}</dd></div>
        ))}
      </dl>
    </Dialog>
  );
}

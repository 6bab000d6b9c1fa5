// CodeMirror, fetched when a text is edited: placeholders marked, findings of the linter underlined.
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import type { DecorationSet, ViewUpdate } from "@codemirror/view";
import { Decoration, drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers, MatchDecorator, ViewPlugin } from "@codemirror/view";
import { useEffect, useRef } from "react";
import type { LintRow } from "../../api/types";
import { PLACEHOLDER } from "../../parts/template";
import { spanOf } from "./gate";

const holder = Decoration.mark({ class: "ph" });
const matcher = new MatchDecorator({ regexp: new RegExp(PLACEHOLDER), decoration: (match) => (match[1] ?? match[2] ? holder : null) });

const placeholders = ViewPlugin.fromClass(
  class {
    decorations: DecorationSet;
    constructor(view: EditorView) {
      this.decorations = matcher.createDeco(view);
    }
    update(update: ViewUpdate) {
      this.decorations = matcher.updateDeco(update, this.decorations);
    }
  },
  { decorations: (plugin) => plugin.decorations },
);

const look = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "var(--page)", font: "var(--t1)/20px var(--mono)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { font: "var(--t1)/20px var(--mono)", maxHeight: "60vh", minHeight: "160px" },
  ".cm-content": { caretColor: "var(--accent)", padding: "0" },
  ".cm-line": { padding: "0 10px" },
  ".cm-gutters": { backgroundColor: "var(--sunk)", color: "var(--ink-3)", borderRight: "1px solid var(--line)" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 10px 0 12px", minWidth: "36px" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--sunk) 70%, transparent)" },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "1.5px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "var(--band)" },
  ".cm-lintRange": { backgroundImage: "none", textDecoration: "underline wavy var(--warn)", textUnderlineOffset: "3px", paddingBottom: "0" },
  ".cm-lintRange-error": { textDecorationColor: "var(--fail)" },
  ".cm-lintRange-info": { textDecorationColor: "var(--rule)", textDecorationStyle: "dotted" },
  ".cm-tooltip": { backgroundColor: "var(--page)", color: "var(--ink)", border: "1px solid var(--rule)", borderRadius: "var(--r1)" },
  ".cm-diagnostic": { font: "var(--t1)/18px var(--sans)", padding: "4px 8px", borderLeft: "0" },
});

const SEVERITY: Record<string, "error" | "warning" | "info"> = { error: "error", warning: "warning", hint: "info" };

function found(state: EditorState, rows: readonly LintRow[]) {
  const lines = state.doc.toString().split("\n");
  return rows.map((row) => {
    const span = spanOf(lines, row.line, row.message);
    const start = state.doc.line(span.line).from;
    return { from: start + span.from, to: start + span.to, severity: SEVERITY[row.level] ?? "info", message: row.message };
  });
}

const nonce = (): string => document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";

export default function Code({ text, onChange, lint, label, goTo, onSave }: {
  text: string;
  onChange: (text: string) => void;
  lint: readonly LintRow[];
  label: string;
  /** A new object moves the cursor to its line. */
  goTo: { line: number } | null;
  onSave: () => void;
}) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef({ onChange, onSave });
  latest.current = { onChange, onSave };
  const first = useRef(text);
  useEffect(() => {
    if (!place.current) return;
    const made = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: first.current,
        extensions: [
          EditorView.cspNonce.of(nonce()),
          EditorState.lineSeparator.of("\n"), // a text is saved as it is, byte for byte
          lineNumbers(),
          highlightActiveLine(),
          highlightActiveLineGutter(),
          highlightSpecialChars(),
          drawSelection(),
          history(),
          keymap.of([{ key: "Mod-s", preventDefault: true, run: () => (latest.current.onSave(), true) }, ...defaultKeymap, ...historyKeymap]),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "true" }),
          placeholders,
          look,
          EditorView.updateListener.of((update) => update.docChanged && latest.current.onChange(update.state.doc.toString())),
        ],
      }),
    });
    view.current = made;
    made.focus();
    return () => {
      made.destroy();
      view.current = null;
    };
  }, [label]);
  useEffect(() => {
    const own = view.current;
    if (!own || own.state.doc.toString() === text) return;
    own.dispatch({ changes: { from: 0, to: own.state.doc.length, insert: text } });
  }, [text]);
  useEffect(() => {
    const own = view.current;
    if (own) own.dispatch(setDiagnostics(own.state, found(own.state, lint)));
  }, [lint]);
  useEffect(() => {
    const own = view.current;
    if (!own || !goTo) return;
    const { from } = own.state.doc.line(Math.min(Math.max(1, goTo.line), own.state.doc.lines));
    own.dispatch({ selection: { anchor: from }, scrollIntoView: true });
    own.focus();
  }, [goTo]);
  return <div className="codebox" ref={place} />;
}

import type { ReactNode } from "react";

export interface Choice {
  value: string;
  text: ReactNode;
  title?: string;
}

/** One of a few, as a row of segments; the choice belongs into the address (useParam). */
export function Tabs({ label, choices, value, onChange }: {
  label: string;
  choices: readonly Choice[];
  value: string;
  onChange: (value: string) => void;
}) {
  return (
    <span className="seg" role="group" aria-label={label}>
      {choices.map((choice) => (
        <button
          key={choice.value}
          type="button"
          aria-pressed={choice.value === value}
          title={choice.title}
          onClick={() => onChange(choice.value)}
        >
          {choice.text}
        </button>
      ))}
    </span>
  );
}

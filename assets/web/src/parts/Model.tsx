import { colourOf } from "./colours";

/** A small square in a model's own colour. */
export function Swatch({ model }: { model: string | null | undefined }) {
  return (
    <svg width="8" height="8" className="sw" aria-hidden="true"><rect width="8" height="8" className={`f-c${colourOf(model)}`} /></svg>
  );
}

/** A model by its name, its colour before it. */
export function Model({ model }: { model: string | null | undefined }) {
  if (!model) return <span className="dim">not said</span>;
  return <span className="nowrap"><Swatch model={model} />{model}</span>;
}

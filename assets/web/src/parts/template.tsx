// $placeholders of a prompt, as the server reads them: $name, ${name}, and $$ for a dollar sign; in braces a name may
// also hold other letters, dashes, dots and spaces.

export interface Piece {
  text: string;
  /** The placeholder that this piece is; null for plain text. */
  name: string | null;
}

export const PLACEHOLDER = /\$(?:\$|([_a-zA-Z][_a-zA-Z0-9]*)|\{([\p{L}_](?:[\p{L}\p{N}_ .-]{0,98}[\p{L}\p{N}_.-])?)\})/gu;

/** The text in pieces: what is plain, and each placeholder. */
export function piecesOf(text: string): Piece[] {
  const pieces: Piece[] = [];
  let plain = "";
  let at = 0;
  for (const hit of text.matchAll(PLACEHOLDER)) {
    const name = hit[1] ?? hit[2] ?? null;
    plain += text.slice(at, hit.index);
    at = hit.index + hit[0].length;
    if (name === null) plain += hit[0];
    else {
      if (plain) pieces.push({ text: plain, name: null });
      pieces.push({ text: hit[0], name });
      plain = "";
    }
  }
  plain += text.slice(at);
  if (plain) pieces.push({ text: plain, name: null });
  return pieces;
}

/** The names of the placeholders, each once, in the order of the text. */
export function placeholdersOf(text: string): string[] {
  return [...new Set(piecesOf(text).flatMap((piece) => piece.name ?? []))];
}

/** A prompt's text with its placeholders marked; text, never markup. */
export function Template({ text }: { text: string }) {
  return <>{piecesOf(text).map((piece, at) => (piece.name === null ? piece.text : <span key={at} className="ph">{piece.text}</span>))}</>;
}

export const withPlaceholders = (text: string) => <Template text={text} />;

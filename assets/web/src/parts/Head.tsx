// The head of a page: where we are, the sentence that answers the page's question, and the evidence for it.
import type { ReactNode } from "react";
import { Fragment, useEffect } from "react";

export interface Crumb {
  text: ReactNode;
  href?: string;
}

/** `title` names the page in the browser's tab; `sentence` is its first line; `why` the evidence. */
export function Head({ title, crumbs, actions, sentence, why }: {
  title: string;
  crumbs: Crumb[];
  actions?: ReactNode;
  sentence: ReactNode;
  why?: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · promptry`;
  }, [title]);
  return (
    <header>
      <div className="crumb">
        {crumbs.map((crumb, at) => (
          <Fragment key={at}>
            {at > 0 && <span aria-hidden="true">/</span>}
            {crumb.href ? <a href={crumb.href}>{crumb.text}</a> : <span>{crumb.text}</span>}
          </Fragment>
        ))}
        {actions && <span className="acts">{actions}</span>}
      </div>
      <h1 tabIndex={-1}>{sentence}</h1>
      {why && <p className="why">{why}</p>}
    </header>
  );
}

/** The sentence's finding: the only coloured words in it. */
export function Finding({ tone, children }: { tone: "good" | "bad" | "warn" | "plain" | "accent"; children: ReactNode }) {
  return tone === "plain" || tone === "accent" ? <>{children}</> : <span className={tone}>{children}</span>;
}

/** A head of a page whose answer is on its way: the same height, so that nothing moves. */
export function HeadWaiting({ title, crumbs, say = "Reading the store." }: { title: string; crumbs: Crumb[]; say?: string }) {
  return <Head title={title} crumbs={crumbs} sentence={<span className="waiting">{say}</span>} why={<span className="waiting">&nbsp;</span>} />;
}

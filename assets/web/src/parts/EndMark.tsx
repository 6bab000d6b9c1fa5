import { useEffect, useRef } from "react";

/** The end of what is shown of a list that goes on: calls `onSeen` when it is scrolled near. */
export function EndMark({ onSeen, children }: { onSeen: () => void; children: React.ReactNode }) {
  const mark = useRef<HTMLSpanElement>(null);
  const latest = useRef(onSeen);
  latest.current = onSeen;
  useEffect(() => {
    const place = mark.current;
    if (!place) return;
    const watch = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && latest.current(), {
      root: place.closest(".scroll.tall"),
      rootMargin: "800px 0px",
    });
    watch.observe(place);
    return () => watch.disconnect();
  });
  return <span ref={mark} className="cap">{children}</span>;
}

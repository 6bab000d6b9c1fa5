import type { RefObject } from "react";
import { useEffect, useState } from "react";

interface Reach {
  tabIndex?: number;
  role?: "region";
  "aria-label"?: string;
}

/** What makes a box reachable by keyboard while it scrolls in itself; nothing while all of it is seen. */
export function useReach(box: RefObject<HTMLElement | null>, label: string): Reach {
  const [scrolls, setScrolls] = useState(false);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const look = () => setScrolls(element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1);
    const watch = new ResizeObserver(look);
    watch.observe(element);
    for (const child of element.children) watch.observe(child);
    return () => watch.disconnect();
  }, [box]);
  return scrolls ? { tabIndex: 0, role: "region", "aria-label": label } : {};
}

// What the sidebar shows, and which letter goes there after g. A page that is not in pages/index.ts has no entry.
import {
  ChartColumn, ChartGantt, Database, FileText, Gauge, GitCompareArrows, House, ListChecks, Menu, MessageSquare, Play,
  SlidersHorizontal, SquareTerminal,
} from "lucide-react";
import type { LucideIcon } from "lucide-react";
import { PAGES } from "../pages";

export interface NavItem {
  path: string;
  text: string;
  icon: LucideIcon;
  key?: string;
  /** Pages below this one, which mark it too. */
  under?: string[];
}

const ALL: { title: string | null; items: NavItem[] }[] = [
  { title: null, items: [{ path: "/", text: "Home", icon: House, key: "h" }] },
  {
    title: "Quality",
    items: [
      { path: "/suites", text: "Suites", icon: ListChecks, key: "s", under: ["/suite", "/run/:id"] },
      { path: "/compare", text: "Compare", icon: GitCompareArrows },
      { path: "/datasets", text: "Datasets", icon: Database, under: ["/dataset"] },
    ],
  },
  {
    title: "Prompts",
    items: [
      { path: "/prompts", text: "Prompts", icon: FileText, key: "p", under: ["/prompt"] },
      { path: "/playground", text: "Playground", icon: Play, key: "l" },
    ],
  },
  {
    title: "Production",
    items: [
      { path: "/calls", text: "Calls", icon: Menu, key: "c" },
      { path: "/traces", text: "Traces", icon: ChartGantt, key: "t", under: ["/trace/:id"] },
      { path: "/cost", text: "Cost", icon: ChartColumn, key: "$" },
      { path: "/budgets", text: "Budgets", icon: Gauge },
      { path: "/feedback", text: "Feedback", icon: MessageSquare },
    ],
  },
  {
    title: "Store",
    items: [
      { path: "/query", text: "Query", icon: SquareTerminal },
      { path: "/settings", text: "Settings", icon: SlidersHorizontal },
    ],
  },
];

export const NAV = ALL.map(({ title, items }) => ({ title, items: items.filter((item) => item.path in PAGES) })).filter(
  (group) => group.items.length,
);

export const NAV_ITEMS: NavItem[] = NAV.flatMap((group) => group.items);

/** The path without ids: /run/12 is /run/:id. */
export function patternOf(path: string): string {
  return path in PAGES ? path : (Object.keys(PAGES).find((page) => page.endsWith("/:id") && path.startsWith(page.slice(0, -3))) ?? path);
}

// Every page: its path and its module, which is fetched when it is first opened. A page adds its line here.
import type { ComponentType, LazyExoticComponent } from "react";
import { lazy } from "react";

type Page = LazyExoticComponent<ComponentType>;

export const PAGES: Record<string, Page> = {
  "/": lazy(() => import("./Home")),
  "/suites": lazy(() => import("./Suites")),
  "/suite": lazy(() => import("./suite/Suite")),
  "/run/:id": lazy(() => import("./run/Run")),
  "/prompts": lazy(() => import("./Prompts")),
  "/prompt": lazy(() => import("./prompt/Prompt")),
  "/playground": lazy(() => import("./playground/Playground")),
  "/datasets": lazy(() => import("./Datasets")),
  "/dataset": lazy(() => import("./dataset/Dataset")),
  "/compare": lazy(() => import("./compare/Compare")),
  "/calls": lazy(() => import("./calls")),
  "/traces": lazy(() => import("./Traces")),
  "/trace/:id": lazy(() => import("./trace")),
  "/cost": lazy(() => import("./cost")),
  "/budgets": lazy(() => import("./budgets")),
  "/feedback": lazy(() => import("./feedback")),
  "/query": lazy(() => import("./query")),
  "/settings": lazy(() => import("./Settings")),
};

import { QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Component, Suspense, useEffect, useState } from "react";
import { Route, Router, Switch } from "wouter";
import { onTokenNeeded } from "../api/client";
import { queries } from "../api/useRead";
import { PAGES } from "../pages";
import { Head } from "../parts/Head";
import { ErrorBox, Skeleton } from "../parts/States";
import { usePath, useQueryText } from "./address";
import { Shell } from "./Shell";
import { Token } from "./Token";

export function App() {
  const [locked, setLocked] = useState(false);
  useEffect(() => {
    const end = onTokenNeeded(() => setLocked(true));
    return () => void end();
  }, []);
  return (
    <QueryClientProvider client={queries}>
      <Router hook={usePath} searchHook={useQueryText}>
        {locked ? <Token onDone={() => setLocked(false)} /> : <Shell><Pages /></Shell>}
      </Router>
    </QueryClientProvider>
  );
}

function Pages() {
  const [path] = usePath();
  return (
    <Fault key={path}>
      <Suspense fallback={<Skeleton rows={12} label="Loading the page" />}>
        <Switch>
          {Object.entries(PAGES).map(([pattern, Page]) => <Route key={pattern} path={pattern} component={Page} />)}
          <Route><NoPage /></Route>
        </Switch>
      </Suspense>
    </Fault>
  );
}

function NoPage() {
  return (
    <Head
      title="No such page"
      crumbs={[{ text: "Home", href: "#/" }]}
      sentence="There is no page at this address."
      why={<>Press <kbd>/</kbd> to jump to one, or start from <a href="#/">Home</a>.</>}
    />
  );
}

/** Whether a file of the page could not be had; each browser has its own words for it. */
const isMissing = (error: Error): boolean => /module script|imported module|preload/i.test(error.message);

/** A fault of one page leaves the others usable. */
class Fault extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <>
        {isMissing(this.state.error) ? (
          <Head title="No answer" crumbs={[{ text: "Home", href: "#/" }]} sentence="This page could not be fetched." why="The server does not answer, or was just updated. The page opens by itself as soon as it answers." />
        ) : (
          <Head title="Fault" crumbs={[{ text: "Home", href: "#/" }]} sentence="This page could not be drawn." why="Reload it; if promptry was just updated, the browser still had the old page." />
        )}
        {!isMissing(this.state.error) && <ErrorBox error={this.state.error} retry={() => window.location.reload()} />}
      </>
    );
  }
}

import { Monitor, Moon, Search, Sun } from "lucide-react";
import type { ReactNode } from "react";
import { useCallback, useEffect, useRef, useState } from "react";
import type { Live } from "../api/useLive";
import { useLive } from "../api/useLive";
import { useRead } from "../api/useRead";
import { DRAWERS } from "../parts/Drawer";
import { bytes, counted } from "../parts/format";
import { Mark } from "../parts/Mark";
import { Time } from "../parts/Time";
import { go, href, usePath } from "./address";
import { Help } from "./Help";
import { Jump } from "./Jump";
import { useKeys } from "./keys";
import { NAV, NAV_ITEMS, patternOf } from "./nav";
import type { Theme } from "./theme";
import { setTheme, useTheme } from "./theme";

/** The frame of every page: the sidebar, the keyboard, and the place of drawers. */
export function Shell({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState<"jump" | "help" | null>(null);
  const jump = useCallback(() => setOpen("jump"), []);
  const help = useCallback(() => setOpen("help"), []);
  const close = useCallback(() => setOpen(null), []);
  const goTo = useCallback((letter: string) => {
    const item = NAV_ITEMS.find((one) => one.key === letter);
    if (item) go(item.path);
    return item !== undefined;
  }, []);
  useKeys({ jump, help, goTo });
  const live = useLive();
  const main = useRef<HTMLElement>(null);
  const [path] = usePath();
  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else {
      window.scrollTo(0, 0);
      main.current?.focus({ preventScroll: true }); // a reader of the screen begins at the new page
    }
  }, [path]);
  return (
    <>
      <Sidebar path={path} live={live} jump={jump} help={help} skip={() => main.current?.focus()} />
      <main ref={main} tabIndex={-1}>{children}</main>
      <div id={DRAWERS} />
      <div role="status">{live.on === false && <Gone live={live} />}</div>
      {open === "jump" && <Jump onClose={close} />}
      {open === "help" && <Help onClose={close} />}
    </>
  );
}

/** Said over the foot of every page while the server is gone; what is shown stays. */
function Gone({ live }: { live: Live }) {
  return (
    <p className="gone">
      <Mark shape="triangle" />
      <span><b>{live.fault?.status ? `The server answers ${live.fault.status}.` : "The server does not answer."}</b> What is shown is as it was; it is asked again by itself. {!live.fault?.status && <><code>promptry dashboard</code> starts it.</>}</span>
    </p>
  );
}

function Sidebar({ path, live, jump, help, skip }: { path: string; live: Live; jump: () => void; help: () => void; skip: () => void }) {
  const pattern = patternOf(path);
  const badges = useBadges();
  const health = useRead("health");
  const strip = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const current = strip.current?.querySelector<HTMLElement>("[aria-current]");
    if (strip.current && current) strip.current.scrollLeft = current.offsetLeft - strip.current.offsetLeft - 48; // narrow, the list is a strip
  }, [path]);
  return (
    <nav className="side" aria-label="Pages">
      <button type="button" className="skip" onClick={skip}>Skip to the page</button>
      <a className="brand" href="#/">
        <Logo />
        promptry<small>{health.data?.version}</small>
      </a>
      <button className="jump" type="button" onClick={jump} aria-keyshortcuts="/">
        <Search size={13} aria-hidden="true" />
        Jump to<kbd>/</kbd>
      </button>
      <div className="nav" ref={strip}>
        {NAV.map(({ title, items }) => (
          <div key={title} role="group" aria-label={title ?? "Start"}>
            {title && <h2>{title}</h2>}
            {items.map(({ path: to, text, icon: Icon, under = [] }) => (
              <a key={to} href={href(to)} aria-current={to === path ? "page" : under.includes(pattern) ? "true" : undefined}>
                <Icon size={16} aria-hidden="true" />
                {text}
                {badges[to]}
              </a>
            ))}
          </div>
        ))}
      </div>
      <Foot help={help} live={live} />
    </nav>
  );
}

/** What is wrong, where it can be looked at. */
function useBadges(): Record<string, ReactNode> {
  const { data } = useRead("overview");
  const regressed = data?.suites.filter((suite) => suite.verdict === "regressed").length ?? 0;
  const over = data?.budgets.filter((budget) => budget.breached || (budget.forecast_usd ?? 0) > budget.limit_usd).length ?? 0;
  return {
    "/suites": regressed > 0 && (
      <i className="bad" title={`${counted(regressed, "suite")} regressed`}><Mark shape="down" />{regressed}</i>
    ),
    "/budgets": over > 0 && (
      <i className="warn" title={`${counted(over, "budget")} exceeded, or will be`}><Mark shape="triangle" />{over}</i>
    ),
  };
}

function Foot({ help, live }: { help: () => void; live: Live }) {
  const settings = useRead("settings");
  const store = settings.data?.store;
  return (
    <footer>
      <div className="row">
        <span><span className={live.on === false ? "live off" : "live"} />{live.on === false ? "no answer" : "live"}</span>
        <Time at={live.changedAt} />
      </div>
      <div className="mono path" title={store?.path}>{store ? shortPath(store.path) : "\u00a0"}</div>
      <div className="row"><span>{window.location.host}</span><span>{store && bytes(store.bytes)}</span></div>
      <div className="row"><ThemeButton /><button type="button" className="keys" onClick={help} aria-keyshortcuts="?">Keys<kbd>?</kbd></button></div>
    </footer>
  );
}

const shortPath = (path: string): string => path.split(/[\\/]/).slice(-2).join("/");

const THEMES: Record<Theme, { next: Theme; text: string; icon: typeof Sun }> = {
  system: { next: "dark", text: "System", icon: Monitor },
  dark: { next: "light", text: "Dark", icon: Moon },
  light: { next: "system", text: "Light", icon: Sun },
};

function ThemeButton() {
  const theme = useTheme();
  const { next, text, icon: Icon } = THEMES[theme];
  return (
    <button type="button" className="keys" onClick={() => setTheme(next)} title={`Colours: ${text.toLowerCase()}; press for ${next}`}>
      <Icon size={13} aria-hidden="true" />{text}
    </button>
  );
}

export function Logo() {
  return (
    <svg className="logo" width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
      <path className="s-rule" d="M13 1.5v17" strokeWidth="1.5" />
      <path className="s-acc" d="M2 10h13M2 7v6M15 7v6" strokeWidth="1.8" />
      <circle className="f-acc" cx="7.5" cy="10" r="3.2" />
    </svg>
  );
}

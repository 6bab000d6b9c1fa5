// Tables: sticky head, sorted by a press on a head, rows by j k and Enter, long ones drawn only where they are seen.
import type { KeyboardEvent, MouseEvent, ReactNode, RefObject } from "react";
import { lazy, Suspense, useMemo, useRef } from "react";
import { useParam } from "../app/address";
import { csvText, saveFile } from "./csv";
import { Mark } from "./Mark";
import { useReach } from "./reach";
import { Skeleton } from "./States";

const VirtualRows = lazy(() => import("./VirtualRows"));
const MANY = 7200; // pixels of rows that are drawn at once without windowing: 200 rows
const TALL = 1440; // pixels of rows from which a table scrolls in itself, below its head: 40 rows

export interface Column<R> {
  key: string;
  head: ReactNode;
  cell: (row: R, at: number) => ReactNode;
  /** What it is sorted by; without it the head is no button. Unknown (null) stands last both ways. */
  sort?: (row: R) => number | string | null | undefined;
  /** What its CSV holds: what `sort` gives, unless said otherwise; false leaves the column out. */
  csv?: ((row: R) => unknown) | false;
  num?: boolean;
  /** A class of its cells and its head: "mono", "dim", "wide" (not below 1340 px), "plot". */
  className?: string;
  title?: string;
}

export interface TableProps<R> {
  label: string;
  rows: readonly R[];
  columns: readonly Column<R>[];
  rowKey: (row: R, at: number) => string;
  /** Open a row: Enter, or a click that hits no link. */
  onOpen?: (row: R) => void;
  selected?: string | null;
  /** Open a row as soon as j, k or Tab reach it: for a list beside what it opens. */
  follow?: boolean;
  dense?: boolean;
  /** The pixels that each row takes, if its cells need more than a line; they must not take more. */
  height?: number;
  empty?: ReactNode;
  /** The address's parameter that holds the sorting; two tables of a page need two. */
  sortParam?: string;
  className?: string;
  foot?: ReactNode;
}

/** The rows in the order that the address asks for: KEY rising, -KEY falling. */
export function sortRows<R>(rows: readonly R[], columns: readonly Column<R>[], order: string): readonly R[] {
  const falling = order.startsWith("-");
  const by = columns.find((column) => column.key === order.replace(/^-/, ""))?.sort;
  if (!by) return rows;
  const keyed = rows.map((row) => ({ row, value: by(row) ?? null }));
  keyed.sort((a, b) => {
    if (a.value === null || b.value === null) return Number(a.value === null) - Number(b.value === null);
    const way =
      typeof a.value === "number" && typeof b.value === "number"
        ? a.value - b.value
        : String(a.value).localeCompare(String(b.value), "en", { numeric: true });
    return falling ? -way : way;
  });
  return keyed.map((entry) => entry.row);
}

/** Save rows as CSV: NAME.csv with the columns' own values. */
export function saveCsv<R>(name: string, columns: readonly Column<R>[], rows: readonly R[]): void {
  const told = columns.flatMap((column) => {
    const value = column.csv === undefined ? column.sort : column.csv;
    return value ? [{ key: column.key, value }] : [];
  });
  saveFile(`${name}.csv`, csvText(told.map((column) => column.key), rows.map((row) => told.map(({ value }) => value(row)))));
}

export function Table<R>(props: TableProps<R>) {
  const { label, rows, columns, dense, empty, sortParam = "sort", className = "", foot } = props;
  const [order, setOrder] = useParam(sortParam);
  const sorted = useMemo(() => sortRows(rows, columns, order), [rows, columns, order]);
  const box = useRef<HTMLDivElement>(null);
  const reach = useReach(box, `${label}, all columns`);
  if (!rows.length && empty) return <>{empty}</>;
  const press = (column: Column<R>) => {
    const first = column.num ? `-${column.key}` : column.key;
    const second = column.num ? column.key : `-${column.key}`;
    setOrder(order === first ? second : order === second ? null : first);
  };
  const tall = rows.length * (props.height ?? 36) > TALL;
  const many = rows.length * (props.height ?? 36) > MANY;
  return (
    <div className={tall ? "scroll tall" : "scroll"} ref={box} {...reach}>
      <table className={`${dense ? "dense " : ""}${props.onOpen ? "in opens " : ""}${className}`} aria-label={label} aria-rowcount={many ? rows.length + 1 : undefined}>
        <thead>
          <tr>
            {columns.map((column) => (
              <Head key={column.key} column={column} order={order} onPress={() => press(column)} />
            ))}
          </tr>
        </thead>
        {many ? (
          <Suspense fallback={<tbody><tr><td colSpan={columns.length}><Skeleton rows={8} /></td></tr></tbody>}>
            <VirtualRows {...(props as TableProps<unknown>)} rows={sorted} box={box as RefObject<HTMLDivElement>} height={props.height ?? (dense ? 30 : 36)} />
          </Suspense>
        ) : (
          <tbody data-rows>
            {sorted.map((row, at) => <Row key={props.rowKey(row, at)} row={row} at={at} {...props} />)}
          </tbody>
        )}
        {foot && <tfoot>{foot}</tfoot>}
      </table>
    </div>
  );
}

function Head<R>({ column, order, onPress }: { column: Column<R>; order: string; onPress: () => void }) {
  const way = order === column.key ? "ascending" : order === `-${column.key}` ? "descending" : undefined;
  const classes = `${column.num ? "num " : ""}${column.className?.replace(/\b(mono|dim|mid|clip|w99)\b/g, "") ?? ""}`.trim();
  return (
    <th className={classes || undefined} scope="col" aria-sort={way} title={column.title}>
      {column.sort ? (
        <button type="button" className="sorter" onClick={onPress}>
          {column.head}
          {way && <Mark shape={way === "ascending" ? "up" : "down"} />}
        </button>
      ) : (
        column.head
      )}
    </th>
  );
}

export function Row<R>({ row, at, columns, rowKey, onOpen, selected, follow }: TableProps<R> & { row: R; at: number }) {
  const key = rowKey(row, at);
  const open = (event: MouseEvent | KeyboardEvent) => {
    if (event.target instanceof Element && event.target.closest("a, button, input, label")) return;
    onOpen?.(row);
  };
  return (
    <tr
      data-row
      tabIndex={onOpen ? 0 : -1}
      aria-selected={selected === undefined ? undefined : selected === key}
      aria-rowindex={at + 2}
      onClick={onOpen && open}
      onFocus={follow && onOpen ? (event) => event.target === event.currentTarget && selected !== key && onOpen(row) : undefined}
      onKeyDown={(event) => {
        if (event.key !== "Enter" || event.target !== event.currentTarget) return;
        if (onOpen) open(event);
        else event.currentTarget.querySelector<HTMLElement>("a")?.click();
      }}
    >
      {columns.map((column) => (
        <td key={column.key} className={`${column.num ? "num " : ""}${column.className ?? ""}`.trim() || undefined}>
          {column.cell(row, at)}
        </td>
      ))}
    </tr>
  );
}

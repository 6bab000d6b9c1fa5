import { useVirtualizer } from "@tanstack/react-virtual";
import type { RefObject } from "react";
import { useLayoutEffect } from "react";
import type { TableProps } from "./Table";
import { Row } from "./Table";

/** The rows of a long table that are seen, between two gaps as high as all the others. */
export default function VirtualRows(props: TableProps<unknown> & { box: RefObject<HTMLDivElement>; height: number }) {
  const { rows, rowKey, box, height, columns } = props;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => height,
    overscan: 16,
  });
  const items = virtual.getVirtualItems();
  useFrozenWidths(box, columns.length, items.length > 0);
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items[items.length - 1]?.end ?? 0);
  return (
    <tbody data-rows>
      {before > 0 && <Gap height={before} columns={columns.length} />}
      {items.map((item) => {
        const row = rows[item.index];
        return <Row key={rowKey(row, item.index)} {...props} row={row} at={item.index} />;
      })}
      {after > 0 && <Gap height={after} columns={columns.length} />}
    </tbody>
  );
}

function Gap({ height, columns }: { height: number; columns: number }) {
  return <tr aria-hidden="true" className="gap"><td colSpan={columns} style={{ height }} /></tr>;
}

const SLACK = 12; // a later row may say a little more

/** Keep the columns as wide as the first rows made them, so that scrolling moves nothing sideways; those that clip their
 * text take what is left, also when a drawer opens beside the table. */
function useFrozenWidths(box: RefObject<HTMLDivElement>, columns: number, drawn: boolean): void {
  useLayoutEffect(() => {
    const table = box.current?.querySelector("table");
    if (!table || !drawn) return;
    const heads = [...table.querySelectorAll<HTMLElement>("thead th")];
    const widths = heads.map((head) => (head.offsetParent ? head.getBoundingClientRect().width + 1 : 0)) // 1: what rounding takes;
    const all = widths.reduce((sum, width) => sum + width, 0);
    const cells = [...(table.querySelector("tbody tr[data-row]")?.children ?? [])];
    const clips = heads.map((_, at) => Boolean(cells[at]?.matches(".clip, .w99")));
    heads.forEach((head, at) => {
      const width = widths[at] ?? 0;
      head.style.width = !clips.includes(true) ? `${(width / all) * 100}%` : clips[at] ? "" : `${width + SLACK}px`;
    });
    table.classList.add("frozen");
    if (box.current && all > box.current.clientWidth) table.style.minWidth = `${all}px`; // wider than its place: it scrolls
    return () => {
      table.classList.remove("frozen");
      table.style.minWidth = "";
      for (const head of heads) head.style.width = "";
    };
  }, [box, columns, drawn]);
}

// A table of any length of which only the rows in sight are in the document. Rows are all of one height.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";

const SPARE_ROWS = 8;

export class Rows {
  /** `schedule` asks for a new rendering. */
  constructor(schedule) {
    this.schedule = schedule;
    this.scrolls = new Map();
  }

  scroll(key) {
    if (!this.scrolls.has(key)) this.scrolls.set(key, { top: 0, height: 800 });
    return this.scrolls.get(key);
  }

  /** After each rendering: how high the tables are now, and where they were left. */
  measure(root) {
    for (const element of root.querySelectorAll(".rows[data-key]")) {
      const scroll = this.scroll(element.dataset.key);
      if (element.shownKey !== element.dataset.key) {
        element.shownKey = element.dataset.key;
        element.scrollTop = scroll.top;
      }
      if (scroll.height !== element.clientHeight && element.clientHeight) {
        scroll.height = element.clientHeight;
        this.schedule();
      }
    }
  }

  /** `columns`: [{ label, cell(item), kind }]; the first cell of a row holds its link. */
  table({ key, label, items, columns, height, id, empty }) {
    const scroll = this.scroll(key);
    const first = Math.max(0, Math.min(Math.floor(scroll.top / height) - SPARE_ROWS, items.length - 1));
    const last = Math.min(items.length, Math.ceil((scroll.top + scroll.height) / height) + SPARE_ROWS);
    const onScroll = (event) => {
      scroll.top = event.target.scrollTop;
      this.schedule(true);
    };
    return html`
      <div class="rows grid-${columns.length}" data-key=${key} role="table" aria-label=${label} aria-rowcount=${items.length + 1}
        tabindex="0" @scroll=${onScroll} @keydown=${move}>
        <div role="rowgroup" class="rows-head"><div role="row" aria-rowindex="1">
          ${columns.map((column) => html`<span role="columnheader" class=${column.kind ?? ""}>${column.label}</span>`)}
        </div></div>
        <div role="rowgroup" class="rows-body" .style=${`height:${items.length * height}px`}>
          ${items.length === 0 ? html`<div role="row" class="row-empty"><span role="cell">${empty}</span></div>` : nothing}
          ${repeat(
            items.slice(first, last),
            id,
            (item, index) => html`
              <div role="row" class="row" aria-rowindex=${first + index + 2} .style=${`transform:translateY(${(first + index) * height}px);height:${height}px`}>
                ${columns.map((column) => html`<span role="cell" class=${column.kind ?? ""}>${column.cell(item)}</span>`)}
              </div>`,
          )}
        </div>
      </div>`;
  }
}

/** Arrow keys walk from row to row; the first link of a row is where one stands. */
function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const links = [...event.currentTarget.querySelectorAll(".row")]
    .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
    .map((row) => row.querySelector("a"))
    .filter(Boolean);
  const here = links.indexOf(document.activeElement);
  const next = here < 0 ? links[0] : links[here + step];
  if (!next) return;
  event.preventDefault();
  next.focus({ preventScroll: false });
}

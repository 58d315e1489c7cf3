// A list as a file: all that its filters let through, on all pages, up to a limit that is said. It must not know the views.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { get } from "./api.js";
import { count } from "./text.js";

const PAGE = 1_000;
const ITEMS_MAX = 50_000;
const PAGES_MAX = 200; // of a ledger, a page may hold few items or none

export class Exports {
  /** `schedule` asks for a new rendering. */
  constructor(schedule) {
    this.schedule = schedule;
    this.state = {};
  }

  /** Buttons that save the list `list` of the API, asked with `asked`, and what became of it. */
  buttons(list, asked) {
    const { busy, read, told } = this.state.list === list ? this.state : {};
    return html`<span class="export" role="group" aria-label="Save this list">
      ${["csv", "json"].map((kind) => html`<button type="button" ?disabled=${busy} @click=${() => this.save(list, asked, kind)} title="Save all that the filters show">${kind.toUpperCase()}</button>`)}
      ${busy ? html`<span class="hint">${count(read)} read …</span>` : told ? html`<span class="hint" role="status">${told}</span>` : nothing}</span>`;
  }

  async save(list, asked, kind) {
    this.tell({ list, busy: true, read: 0 });
    try {
      const { items, more } = await all(list, asked, (read) => this.tell({ list, busy: true, read }));
      offer(`${list}.${kind}`, kind === "csv" ? csv(items) : JSON.stringify(items, null, 1), kind === "csv" ? "text/csv" : "application/json");
      this.tell({ list, told: more ? `The first ${count(items.length)} were saved; filter to save others.` : `${count(items.length)} saved.` });
    } catch (error) {
      this.tell({ list, told: `Not saved: ${error.message}` });
    }
  }

  tell(state) {
    this.state = state;
    this.schedule();
  }
}

async function all(list, asked, progress) {
  const items = [];
  let next = null;
  for (let page = 0; page < PAGES_MAX && items.length < ITEMS_MAX; page += 1) {
    const answer = await get(list, { ...asked, limit: PAGE, cursor: next });
    items.push(...answer.items);
    next = answer.next;
    if (!next) break;
    progress(items.length);
  }
  return { items: items.slice(0, ITEMS_MAX), more: Boolean(next) || items.length > ITEMS_MAX };
}

/** RFC 4180. What a spreadsheet would take for a formula begins with an apostrophe. */
export function csv(items) {
  const columns = [...new Set(items.flatMap(Object.keys))];
  return [columns, ...items.map((item) => columns.map((column) => item[column]))].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function cell(value) {
  const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function offer(file, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href: url, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// States over time: one lane for each thing, time on the x axis. Colour, pattern and word tell the state, and the
// ledger entries beside it say the same in a table. Pure: values in, a drawing out.
import { html, nothing, svg } from "./vendor/lit-html/lit-html.js";
import { tone } from "./states.js";
import { moment, name, span } from "./text.js";
import { change } from "./route.js";

export const RANGES = { "15m": 900, "1h": 3_600, "6h": 21_600, "1d": 86_400, "7d": 604_800 };
const LANE = 30;
const BAR = 20;
const AXIS = 24;
const LABEL = 15;
const STACKED = 560; // narrower than this there is no room beside the bars
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000];
const PATTERNS = { error: "cross", recovering: "wave", moving: "slant", stopping: "back", stopped: "dots", inert: "lines" };

/** Spans of one thing's states out of its ledger entries, whichever way they are sorted. */
export function spans(entries, now) {
  const sorted = [...entries].sort((a, b) => a.sequence - b.sequence);
  const moves = sorted.filter((entry, index) => index === 0 || entry.from_state !== entry.to_state);
  return moves.map((entry, index) => ({
    state: entry.to_state,
    reason: entry.reason,
    from: Date.parse(entry.at),
    to: index + 1 < moves.length ? Date.parse(moves[index + 1].at) : now,
  }));
}

export const rangeChoice = (asked) => html`
  <div class="ranges" role="group" aria-label="Time shown">
    ${[...Object.keys(RANGES), ""].map(
      (key) => html`<button type="button" aria-pressed=${(asked.range ?? "") === key} @click=${() => change({ range: key })}>${key || "all"}</button>`,
    )}
  </div>`;

/** `lanes`: [{ label, href, spans }]; `width` in pixels; `asked.range` as in RANGES. */
export function timeline({ lanes, width, now, asked }) {
  const { from, to } = shownTimes(lanes, now, asked.range);
  const above = width < STACKED; // labels stand above their bars
  const label = above ? 0 : Math.min(240, width * 0.28);
  const lane = above ? LANE + LABEL : LANE;
  const top = (row) => row * lane + (above ? LABEL : 0);
  const room = Math.max(80, width - label);
  const x = (instant) => label + ((Math.min(Math.max(instant, from), to) - from) / (to - from)) * room;
  const height = lanes.length * lane + AXIS;
  const said = lanes.length === 1 ? "State timeline" : `State timeline of ${lanes.length} things`;
  return html`
    <svg class="timeline" viewBox="0 0 ${width} ${height}" width=${width} height=${height} role="group" aria-label=${said}>
      ${patterns()}
      ${ticks(from, to, room).map(
        (tick) => svg`<g class="tick" aria-hidden="true"><line x1=${x(tick)} x2=${x(tick)} y1="0" y2=${height - AXIS + 4}></line>
          <text x=${x(tick)} y=${height - 6} text-anchor=${x(tick) > width - 30 ? "end" : x(tick) < label + 30 ? "start" : "middle"}>${stamp(tick, to - from)}</text></g>`,
      )}
      ${lanes.map((one, row) => svg`
        <a href=${one.href ?? nothing} class="lane"><title>${name(one.label, 320)}</title><text x="0" y=${above ? top(row) - 2 : top(row) + 19}>${name(one.label, Math.floor((label || width) / 8))}</text></a>
        ${one.spans.filter((part) => part.to >= from).map((part) => bar(part, x, top(row) + (LANE - BAR) / 2))}`)}
    </svg>`;
}

/** All of it where no range is asked for: from the first entry to now, or to the end of what has ended. */
function shownTimes(lanes, now, range) {
  if (range in RANGES) return { from: now - RANGES[range] * 1000, to: now };
  const all = lanes.flatMap((lane) => lane.spans);
  const last = Math.max(...all.map((one) => one.to));
  const first = Math.min(...all.map((one) => one.from), last - 10_000);
  const spare = (last - first) * 0.02;
  return { from: first - spare, to: last < now - 1_000 ? last + spare : now };
}

function bar(one, x, y) {
  const left = x(one.from);
  const wide = Math.max(2.5, x(one.to) - left);
  const said = `${one.state} for ${span((one.to - one.from) / 1000)}, from ${moment(one.from)}: ${one.reason ?? ""}`;
  const pattern = PATTERNS[tone(one.state)];
  return svg`<g role="img" aria-label=${said}><title>${said}</title>
    <rect class="bar tone-${tone(one.state)}" x=${left} y=${y} width=${wide} height=${BAR} rx="2"></rect>
    ${pattern ? svg`<rect x=${left} y=${y} width=${wide} height=${BAR} rx="2" fill="url(#pattern-${pattern})"></rect>` : nothing}
    ${wide > one.state.length * 7.600 + 10 ? svg`<rect class="plate tone-${tone(one.state)}" x=${left + 3} y=${y + 3} width=${one.state.length * 7.600 + 6} height=${BAR - 6} rx="2"></rect>
      <text class="bar-word" x=${left + 6} y=${y + 14.500}>${one.state}</text>` : nothing}
  </g>`;
}

const patterns = () => svg`<defs>
  <pattern id="pattern-cross" width="7" height="7" patternUnits="userSpaceOnUse"><path d="M0 0l7 7M7 0L0 7"></path></pattern>
  <pattern id="pattern-slant" width="7" height="7" patternUnits="userSpaceOnUse"><path d="M-1 8L8-1M-2 2l4-4M5 9l4-4"></path></pattern>
  <pattern id="pattern-back" width="7" height="7" patternUnits="userSpaceOnUse"><path d="M-1-1l9 9M5-2l4 4M-2 5l4 4"></path></pattern>
  <pattern id="pattern-lines" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M0 3h6"></path></pattern>
  <pattern id="pattern-dots" width="6" height="6" patternUnits="userSpaceOnUse"><circle cx="3" cy="3" r="1.1"></circle></pattern>
  <pattern id="pattern-wave" width="10" height="6" patternUnits="userSpaceOnUse"><path d="M0 3q2.500-4 5 0t5 0"></path></pattern>
</defs>`;

function ticks(from, to, room) {
  const least = ((to - from) / 1000 / room) * 90;
  const step = (STEPS_S.find((one) => one >= least) ?? 2_592_000) * 1000;
  const shift = new Date(from).getTimezoneOffset() * 60_000;
  const found = [];
  for (let tick = Math.ceil((from - shift) / step) * step + shift; tick <= to; tick += step) found.push(tick);
  return found;
}

function stamp(instant, shown) {
  const date = new Date(instant);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  if (shown > 3 * 86_400_000) return day;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return shown < 1_200_000 ? `${clock}:${two(date.getSeconds())}` : clock;
}

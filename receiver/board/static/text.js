// Text that came from outside, made fit to be looked at, and times and figures as people read them.
// Everything here returns plain strings; nothing is ever markup.

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/gu;

/** `text` with what cannot be seen (controls, marks that turn the direction of writing) shown as its code. */
export const visible = (text) =>
  String(text).replace(HIDDEN, (hidden) => `⟨U+${hidden.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

/** A name on one line: visible, and cut in the middle when longer than `most` characters. */
export function name(text, most = 80) {
  if (text === null || text === undefined || text === "") return "–";
  const characters = Array.from(visible(text).replace(/\s+/gu, " "));
  if (characters.length <= most) return characters.join("");
  return `${characters.slice(0, most - 13).join("")}…${characters.slice(-12).join("")}`;
}

/** Bytes as text. What is not UTF-8 becomes U+FFFD; lines stay lines. */
export const decoded = (bytes) => visible(new TextDecoder("utf-8").decode(bytes).replace(/\r\n?/g, "\n"));

const UNITS = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];

/** A span as its two largest units: `2 h 5 min`, `42 s`. */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (seconds > 0 && seconds < 1) return "under 1 s";
  const at = UNITS.findIndex(([length]) => whole >= length);
  if (at < 0) return "0 s";
  const [length, unit] = UNITS[at];
  const large = Math.floor(whole / length);
  const next = UNITS[at + 1];
  const small = next && large < 10 ? Math.floor((whole % length) / next[0]) : 0;
  return small ? `${large} ${unit} ${small} ${next[1]}` : `${large} ${unit}`;
}

export const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;
export const ago = (time, now) => {
  const passed = (now - Date.parse(time)) / 1000;
  return passed < 1 ? "just now" : `${span(passed)} ago`;
};

const TO_THE_MS = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" };
const CLOCK = new Intl.DateTimeFormat(undefined, TO_THE_MS);
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "2-digit", ...TO_THE_MS });

export const clock = (time) => (time ? CLOCK.format(new Date(time)) : "–");
export const moment = (time) => (time ? DAY.format(new Date(time)) : "–");
/** The zone of all times shown, as `UTC` or `UTC+02:00`, and its name. */
export function zone() {
  const minutes = -new Date().getTimezoneOffset();
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const offset = minutes ? `${minutes < 0 ? "−" : "+"}${two(Math.abs(minutes) / 60)}:${two(Math.abs(minutes) % 60)}` : "";
  return { offset: `UTC${offset}`, name: Intl.DateTimeFormat().resolvedOptions().timeZone };
}

/** `1 VM`, `2 VMs`: a number with what is counted; `several` where an s is not enough. */
export const counted = (number, one, several = `${one}s`) => `${count(number)} ${number === 1 ? one : several}`;

const WHOLE = new Intl.NumberFormat("en");
export const count = (number) => (Number.isFinite(number) ? WHOLE.format(number) : "–");
export const rate = (number) =>
  !Number.isFinite(number) ? "–" : number >= 10 ? WHOLE.format(Math.round(number)) : number.toFixed(1);
export const bytes = (number) => {
  if (!Number.isFinite(number)) return "–";
  if (number < 10_240) return counted(number, "byte");
  return number < 1048576 ? `${(number / 1024).toFixed(1)} KiB` : `${(number / 1048576).toFixed(1)} MiB`;
};

// What each state looks like: a colour (board.css), a shape and its word, so that nobody needs the colour.
// Data and small look-ups only; it must not know who shows them.
import { svg, html } from "./vendor/lit-html/lit-html.js";

const CHECK = "M2.500 8.700 4.600 6.600 6.600 8.600 11.600 3.400 13.700 5.500 6.600 12.800z";
const RING = "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7z";
const CROSS = "M3 5.200 5.200 3 8 5.800 10.800 3 13 5.200 10.200 8 13 10.800 10.800 13 8 10.200 5.200 13 3 10.800 5.800 8z";
const UP = "M8 2l6.500 11.500h-13z";
const DOWN = "M8 14 1.500 2.500h13z";
const RIGHT = "M3.500 1.500 14 8 3.500 14.500z";
const TWICE = "M2 2.500 8 8l-6 5.500zM8 2.500 14 8l-6 5.500z";
const PLUS = "M6 2h4v4h4v4h-4v4H6v-4H2V6h4z";
const SQUARE = "M3 3h10v10H3z";
const DIAMOND = "M8 1l7 7-7 7-7-7zM8 4.600 4.600 8 8 11.400 11.400 8z";
const HALF = "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 1.800a4.200 4.200 0 0 1 0 8.400z";
const GLASS = "M3 1.500h10v2L9.200 8l3.800 4.500v2H3v-2L6.800 8 3 3.500z";
const WARNING = "M8 1l7.500 13.500H.5zM7 5.500v4.500h2V5.500zm0 5.500v2h2v-2z";
const BAR = "M2 6h12v4H2z";
const DOT = "M6 6h4v4H6z";

// In the order in which an operator wants to see them: what is wrong, what moves, what is well, what is gone.
const STATES = {
  ERROR: ["error", CROSS],
  FAILED: ["error", CROSS],
  OUT_OF_SERVICE: ["error", CROSS],
  OVERDUE: ["recovering", WARNING],
  RECOVERING: ["recovering", PLUS],
  OPEN: ["moving", GLASS],
  DEPLOYING: ["moving", UP],
  STARTING: ["moving", RIGHT],
  REBOOTING: ["moving", TWICE],
  INERT: ["inert", HALF],
  STOPPING: ["stopping", DOWN],
  STOPPED: ["stopped", SQUARE],
  UNDEPLOYING: ["stopping", DIAMOND],
  ACTIVE: ["alive", CHECK],
  ALIVE: ["alive", CHECK],
  SUCCEEDED: ["alive", CHECK],
  IN_SERVICE: ["alive", CHECK],
  CREATED: ["alive", CHECK],
  UPDATED: ["alive", CHECK],
  CANCELLED: ["stopped", BAR],
  UNDEPLOYED: ["gone", RING],
  DELETED: ["gone", RING],
  UNSEEN: ["gone", DOT],
};

export const ORDER = Object.keys(STATES);
export const VM_STATES = [
  "ERROR", "RECOVERING", "DEPLOYING", "STARTING", "REBOOTING", "INERT", "STOPPING", "STOPPED", "UNDEPLOYING", "ALIVE",
  "UNDEPLOYED",
];
export const DEPLOYMENT_STATES = VM_STATES.filter((state) => state !== "RECOVERING").map((state) =>
  state === "ALIVE" ? "ACTIVE" : state,
);
export const RESOURCE_STATES = ["ERROR", "CREATED", "UPDATED", "DELETED"];
export const OPERATION_KINDS = [
  "deploy", "undeploy", "update", "start", "stop", "reboot", "start_vm", "stop_vm", "reboot_vm", "scale_out", "scale_in",
  "recovery", "enable_monitoring", "disable_monitoring", "registration", "unregistration",
];
export const GONE = new Set(["UNDEPLOYED", "DELETED"]);
export const MOVING = new Set(["DEPLOYING", "STARTING", "REBOOTING", "STOPPING", "UNDEPLOYING", "RECOVERING"]);

export const rank = (state) => {
  const place = ORDER.indexOf(state);
  return place < 0 ? ORDER.length : place;
};
export const tone = (state) => STATES[state]?.[0] ?? "gone";
export const shape = (state) => STATES[state]?.[1] ?? DOT;

export const mark = (state) =>
  html`<svg class="mark tone-${tone(state)}" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    ${svg`<rect x="0.500" y="0.500" width="15" height="15" rx="3.500"></rect>
      <path transform="translate(2.400 2.400) scale(0.7)" fill-rule="evenodd" d=${shape(state)}></path>`}
  </svg>`;

/** The state as shape and word. */
export const badge = (state) => html`<span class="badge">${mark(state)}<span class="word">${state ?? "–"}</span></span>`;

// The fleet as a map: every VM a cell, the cells of a deployment together, worst states marked by their shape.
// Drawn on a canvas, because ten thousand cells change all the time; the tables say the same in text.
import { GONE, shape, tone } from "./states.js";

const PATHS = new Map();
const path = (state) => {
  if (!PATHS.has(state)) PATHS.set(state, new Path2D(shape(state)));
  return PATHS.get(state);
};
const LABEL = 15;

export class FleetMap {
  constructor() {
    this.cells = [];
    this.colours = null;
  }

  /** The colours may have changed: light and dark. */
  repaint() {
    this.colours = null;
  }

  colour(canvas, kind) {
    this.colours ??= new Map();
    if (!this.colours.has(kind)) this.colours.set(kind, getComputedStyle(canvas).getPropertyValue(`--${kind}`).trim());
    return this.colours.get(kind);
  }

  draw(canvas, vms, nameOf) {
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const plan = this.planned(grouped(vms), width, height);
    this.cells = [];
    this.size = plan.size;
    for (const block of plan.blocks) this.block(canvas, pen, block, plan, nameOf);
  }

  /** The layout is kept while the groups are as large as they were. */
  planned(groups, width, height) {
    const key = `${width} ${height} ${groups.map(({ vms }) => vms.length)}`;
    if (key !== this.planKey) {
      this.planKey = key;
      this.plan = fitting(groups, width, height);
    }
    this.plan.blocks.forEach((block, index) => (block.vms = groups[index].vms));
    return this.plan;
  }

  block(canvas, pen, block, plan, nameOf) {
    const { size, labelled } = plan;
    const gap = size > 7 ? 2 : 1;
    let { x, y } = block;
    if (labelled) {
      pen.fillStyle = this.colour(canvas, "dim");
      pen.font = "11px system-ui, sans-serif";
      pen.save();
      pen.beginPath();
      pen.rect(x, y - 2, block.width, LABEL + 2);
      pen.clip();
      pen.fillText(nameOf(block.vms[0]), x, y + 9);
      pen.restore();
      y += LABEL;
    }
    block.vms.forEach((vm, index) => {
      const cellX = x + (index % block.columns) * size;
      const cellY = y + Math.floor(index / block.columns) * size;
      this.cell(canvas, pen, vm, cellX, cellY, size - gap);
      this.cells.push([cellX, cellY, vm]);
    });
  }

  cell(canvas, pen, vm, x, y, size) {
    const kind = tone(vm.state);
    pen.fillStyle = this.colour(canvas, kind);
    if (size < 5) {
      pen.fillRect(x, y, size, size);
      return;
    }
    pen.beginPath();
    pen.roundRect(x, y, size, size, Math.min(4, size / 5));
    pen.fill();
    if (size < 8 || kind === "alive") return;
    pen.save();
    pen.translate(x + size * 0.15, y + size * 0.15);
    pen.scale((size * 0.7) / 16, (size * 0.7) / 16);
    pen.fillStyle = this.colour(canvas, "on-tone");
    pen.fill(path(vm.state), "evenodd");
    pen.restore();
  }

  at(event) {
    const box = event.target.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    return this.cells.find(([left, top]) => x >= left && x < left + this.size && y >= top && y < top + this.size)?.[2];
  }
}

function grouped(vms) {
  const groups = [];
  let last = null;
  for (const vm of vms) {
    if (GONE.has(vm.state)) continue;
    const key = `${vm.source}\u0000${vm.deployment}`;
    if (!last || last.key !== key) groups.push((last = { key, vms: [] }));
    last.vms.push(vm);
  }
  return groups;
}

/** The largest cells with which all fits; names over the groups as long as there is room for them. */
function fitting(groups, width, height) {
  for (const labelled of [true, false]) {
    for (let size = 34; size >= (labelled ? 14 : 2); size -= size > 12 ? 2 : 1) {
      const plan = laid(groups, width, size, labelled);
      if (plan.height <= height) return plan;
    }
  }
  return laid(groups, width, 2, false);
}

function laid(groups, width, size, labelled) {
  const gap = labelled ? 16 : Math.max(2, Math.floor(size / 2));
  const blocks = [];
  let x = 0;
  let y = 0;
  let high = 0;
  for (const { vms } of groups) {
    const columns = labelled ? Math.max(Math.ceil(110 / size), Math.ceil(Math.sqrt(vms.length * 2))) : Math.ceil(Math.sqrt(vms.length));
    const wide = Math.min(columns, Math.max(1, Math.floor(width / size))) * size;
    const tall = Math.ceil(vms.length / (wide / size)) * size + (labelled ? LABEL : 0);
    if (x > 0 && x + wide > width) {
      x = 0;
      y += high + gap * (labelled ? 0.75 : 1);
      high = 0;
    }
    blocks.push({ vms, x, y, width: wide, columns: wide / size });
    x += wide + gap;
    high = Math.max(high, tall);
  }
  return { blocks, size, labelled, height: y + high };
}

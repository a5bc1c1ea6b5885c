"use strict";
// Draws one number's curves as SVG: lines over steps, a band where a point stands for many rows, values under the
// pointer. Text comes in through textContent only. Left out: zoom.
const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 6; // classes c0 to c5 of the style sheet
const HEIGHT = 168;
const MARGIN = { left: 52, right: 12, top: 10, bottom: 22 };
const FEW_POINTS = 40; // so few get a dot each

// An element with attributes and children; a string child is text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// 0.0012345 as 0.00123, 1234567 as 1.23M, 1e-7 as 1e-7.
function shownNumber(value, digits = 4) {
  if (value === null || value === undefined) return "not finite";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) {
    return value.toExponential(Math.max(digits - 2, 0)).replace(/\.?0+e/, "e").replace("e+", "e");
  }
  const text = size >= 1000 ? value.toFixed(size >= 1e4 || Number.isInteger(value) ? 0 : 1) : value.toPrecision(digits);
  return (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", "−");
}

// A number beside an axis: 20000 as 20k.
function axisNumber(value) {
  const [size, unit] = [[1e9, "G"], [1e6, "M"], [1e4, "k"]].find(([size]) => Math.abs(value) >= size) ?? [1, ""];
  return unit ? shownNumber(value / (unit === "k" ? 1e3 : size), 3) + unit : shownNumber(value, 3);
}

// Round places between two values, about `count` of them; in powers of ten where the scale is logarithmic.
function ticksOf(low, high, count, log) {
  if (log) {
    const powers = [];
    for (let p = Math.ceil(low - 1e-9); p <= Math.floor(high + 1e-9); p += 1) powers.push(p);
    if (powers.length > 1) return powers.filter((_, i) => i % Math.ceil(powers.length / (count + 1)) === 0);
  }
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i += 1) ticks.push(i * step);
  return ticks;
}

// The place in ascending `steps` that is nearest to `step`.
function nearest(steps, step) {
  let [low, high] = [0, steps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
}

class Plot {
  // `hover(step)` is called where the pointer is, with null where it leaves.
  constructor(name, group, hover) {
    this.name = name;
    this.lines = [];
    this.trips = [];
    this.log = false;
    this.step = null;
    this.logButton = make("button", {
      type: "button", class: "log", "aria-pressed": "false", title: "logarithmic scale", hidden: true,
      onclick: () => {
        this.log = !this.log;
        this.logButton.setAttribute("aria-pressed", String(this.log));
        this.draw();
      },
    }, "log");
    this.values = make("p", { class: "values" });
    this.bad = make("p", { class: "bad", hidden: true });
    this.svg = shape("svg", { height: HEIGHT, role: "img" });
    this.element = make("figure", { class: "plot" },
      make("figcaption", {}, make("b", {}, name.replaceAll("_", " ")), make("small", {}, group), this.logButton),
      this.values, this.svg, this.bad);
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.toStep) return;
      hover(this.toStep(event.clientX - this.svg.getBoundingClientRect().left));
    });
    this.svg.addEventListener("pointerleave", () => hover(null));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  // Lines: {label, colour, dashed, step, mean, low?, high?, size, bad, firstBad}; trips of the number's guard: {iteration, limit}.
  show(lines, trips) {
    this.lines = lines;
    this.trips = trips;
    this.svg.setAttribute("aria-label", `${this.name}: ${lines.map((line) => line.label).join(", ")}`);
    const bad = lines.filter((line) => line.bad);
    this.bad.hidden = !bad.length;
    this.bad.textContent = bad.map((line) =>
      `${line.label}: ${line.bad} ${line.bad === 1 ? "value is" : "values are"} NaN or infinite, first at step ${line.firstBad}`).join("; ");
    this.draw();
  }

  draw() {
    const width = this.element.clientWidth - 2;
    if (width < 80) return;
    const all = (name) => this.lines.flatMap((line) => line[name] ?? line.mean).filter((value) => value !== null);
    const [lows, highs, steps] = [all("low"), all("high"), this.lines.flatMap((line) => [line.step[0], line.last[0]])];
    const least = lows.reduce((a, b) => Math.min(a, b), Infinity);
    const most = highs.reduce((a, b) => Math.max(a, b), -Infinity);
    this.logButton.hidden = !(least > 0 && most / least > 10) && !this.log;
    const log = this.log && least > 0;
    this.svg.setAttribute("width", width);
    this.svg.replaceChildren();
    this.cursor = shape("g", { class: "cursor" });
    const [first, last] = [Math.min(...steps), Math.max(...steps)];
    const scale = log ? Math.log10 : (value) => value;
    let [bottom, top] = [scale(least), scale(most)];
    if (!(bottom <= top)) return this.point(this.step); // no finite value yet
    const room = (top - bottom) * 0.06 || Math.abs(top) * 0.1 || 1;
    [bottom, top] = [bottom - room, top + room];
    const [right, floor] = [width - MARGIN.right, HEIGHT - MARGIN.bottom];
    this.x = (step) => MARGIN.left + (last > first ? ((step - first) / (last - first)) * (right - MARGIN.left) : (right - MARGIN.left) / 2);
    this.y = (value) => floor - ((scale(value) - bottom) / (top - bottom)) * (floor - MARGIN.top);
    this.toStep = (x) => first + ((x - MARGIN.left) / (right - MARGIN.left)) * (last - first);
    this.axes(ticksOf(bottom, top, 5, log), ticksOf(first, last, Math.max(4, Math.floor(width / 90)), false), log, right, floor);
    this.guard(right, floor);
    for (const line of this.lines) this.svg.append(...this.curve(line));
    this.svg.append(this.cursor);
    this.point(this.step);
  }

  axes(values, steps, log, right, floor) {
    for (const value of values) {
      const y = this.y(log ? 10 ** value : value);
      this.svg.append(
        shape("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y }),
        shape("text", { x: MARGIN.left - 7, y: y + 4, "text-anchor": "end" }, axisNumber(log ? 10 ** value : value)),
      );
    }
    for (const step of steps.filter((step) => Number.isInteger(step))) {
      const anchor = this.x(step) > right - 12 ? "end" : "middle";
      this.svg.append(shape("text", { x: this.x(step), y: floor + 16, "text-anchor": anchor }, axisNumber(step)));
    }
  }

  // The limits of the number's guard, where they are in the picture, and a tick at the foot for each trip.
  guard(right, floor) {
    for (const limit of new Set(this.trips.map((trip) => trip.limit))) {
      const y = typeof limit === "number" ? this.y(limit) : NaN;
      if (y >= MARGIN.top && y <= floor) this.svg.append(shape("line", { class: "limit", x1: MARGIN.left, x2: right, y1: y, y2: y }));
    }
    for (const { iteration } of this.trips.filter((trip) => typeof trip.iteration === "number")) {
      this.svg.append(shape("line", { class: "trip", x1: this.x(iteration), x2: this.x(iteration), y1: floor - 7, y2: floor }));
    }
  }

  // The band, the line (broken where a value is not finite), and dots where points are few.
  curve(line) {
    const place = (i, value) => `${this.x(line.step[i]).toFixed(1)},${this.y(value).toFixed(1)}`;
    const pieces = [];
    line.mean.forEach((value, i) => {
      if (value === null) return;
      if (i > 0 && line.mean[i - 1] !== null) pieces.at(-1).push(i);
      else pieces.push([i]);
    });
    const shapes = [];
    const name = `curve c${line.colour}${line.dashed ? " dashed" : ""}`;
    for (const piece of pieces) {
      if (line.low) {
        const over = piece.map((i) => place(i, line.high[i]));
        const under = piece.map((i) => place(i, line.low[i])).reverse();
        shapes.push(shape("polygon", { class: `${name} band`, points: [...over, ...under].join(" ") }));
      }
      shapes.push(shape("polyline", { class: name, points: piece.map((i) => place(i, line.mean[i])).join(" ") }));
      if (line.step.length <= FEW_POINTS || piece.length === 1) {
        for (const i of piece) {
          shapes.push(shape("circle", { class: name, cx: this.x(line.step[i]), cy: this.y(line.mean[i]), r: 2.6 }));
        }
      }
    }
    return shapes;
  }

  // Values at a step, or, with null, the newest.
  point(step) {
    this.step = step;
    this.cursor?.replaceChildren();
    const shown = this.lines.map((line) => {
      if (step === null) return [line, line.last[0], shownNumber(line.last[1])];
      const i = nearest(line.step, step);
      const until = line.step[i + 1] === undefined ? line.last[0] : line.step[i + 1] - 1;
      if (this.x && line.mean[i] !== null) {
        this.cursor.append(shape("circle", { class: `curve c${line.colour}`, cx: this.x(line.step[i]), cy: this.y(line.mean[i]), r: 4 }));
      }
      const range = line.low && line.low[i] !== null ? ` (${shownNumber(line.low[i])} to ${shownNumber(line.high[i])})` : "";
      const place = line.size > 1 && until > line.step[i] ? `${line.step[i]}–${until}` : line.step[i];
      return [line, place, shownNumber(line.mean[i]) + range];
    });
    if (step !== null && this.x && this.lines.length) {
      const x = Math.min(Math.max(this.x(step), MARGIN.left), this.svg.clientWidth - MARGIN.right);
      this.cursor.prepend(shape("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }));
    }
    const where = (place) => make("small", {}, ` at ${place}`);
    const together = shown.every(([, place]) => place === shown[0][1]);
    this.values.replaceChildren(
      ...shown.map(([line, place, value]) =>
        make("span", { class: `c${line.colour}`, title: `${line.label}, step ${place}` }, value, together ? null : where(place))),
      ...(together && shown.length ? [where(shown[0][1])] : []));
  }
}

// What all scenes of the book share: controls, charts, and a list of the scenes of a page.
// Plain scripts, not modules: browsers refuse modules to pages that are opened from a disk.
window.lemmseScenes ??= (() => {
  "use strict";

  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
  const wrap = (i, n) => ((i % n) + n) % n;
  const sum = list => list.reduce((a, b) => a + b, 0);
  const range = n => [...Array(n).keys()];
  const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
  const steps = (low, high, n) => range(n + 1).map(i => low + (high - low) * i / n);
  const percent = w => w >= 0.001 ? `${(100 * w).toPrecision(w < 0.1 ? 2 : 3)} %` : "< 0.1 %";

  // ---- controls -------------------------------------------------------------------------------

  const make = (parent, tag, attributes = {}, text = "") => {
    const element = parent.appendChild(document.createElement(tag));
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    element.textContent = text;
    return element;
  };
  // In Jupyter Lab the arrow keys would go to the next cell.
  const keepKeys = element => element.addEventListener("keydown", e => e.stopPropagation());
  const short = v => `${+v.toPrecision(2)}`;
  let names = 0;

  // A slider over [low, high], on a logarithmic scale if asked; or over the values of a list.
  const slider = (parent, label, options, start, use) => {
    const id = `lemmse-control-${names++}`, row = make(parent, "div", {class: "axis"});
    make(row, "label", {for: id}, label);
    const {values, low, high, log} = options, text = options.text ?? short;
    const to = log ? Math.log : v => v, from = log ? Math.exp : v => v;
    const scale = values ? {min: 0, max: values.length - 1, step: 1} :
      {min: to(low), max: to(high), step: (to(high) - to(low)) / 200};
    const input = make(row, "input", {type: "range", id, autocomplete: "off", ...scale});
    const output = make(row, "output", {for: id, "aria-live": "off"});
    const set = value => {
      input.value = values ? values.indexOf(value) : to(value);
      tell(value);
    };
    const tell = value => {
      output.textContent = text(value);
      input.setAttribute("aria-valuetext", text(value));
    };
    input.addEventListener("input", () => {
      const value = values ? values[+input.value] : from(+input.value);
      tell(value);
      use(value);
    });
    keepKeys(input);
    set(start);
    return set;
  };

  const choice = (parent, label, options, start, use) => {
    const group = make(parent, "fieldset", {class: "choice"}), name = `lemmse-choice-${names++}`;
    make(group, "legend", {}, label);
    options.forEach(([value, text]) => {
      const item = make(group, "label"), attributes = {type: "radio", name, autocomplete: "off"};
      const input = make(item, "input", attributes);
      make(item, "span", {}, text);
      input.checked = value === start;
      input.addEventListener("change", () => use(value));
      keepKeys(input);
    });
  };

  // Dragging and the arrow keys on an area: use(x, y) with shares of its width and height.
  const draggable = (area, use, step) => {
    const point = event => {
      const box = area.getBoundingClientRect();
      use((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    area.addEventListener("pointerdown", event => {
      area.setPointerCapture(event.pointerId);
      point(event);
    });
    area.addEventListener("pointermove", event => {
      if (area.hasPointerCapture(event.pointerId)) point(event);
    });
    const steps = {ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0]};
    area.addEventListener("keydown", event => {
      const way = steps[event.key];
      if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      step(...way.map(v => v * (event.shiftKey ? 5 : 1)));
    });
  };

  // Said to screen readers when the hand rests, shown at once.
  const speaker = parent => {
    const shown = make(parent, "p", {class: "readout", "aria-hidden": "true"});
    const said = make(parent, "p", {class: "said", role: "status", "aria-live": "polite"});
    let timer;
    return text => {
      shown.textContent = text;
      clearTimeout(timer);
      timer = setTimeout(() => { said.textContent = text; }, 400);
    };
  };

  // ---- drawing --------------------------------------------------------------------------------

  // the palette of lemmse.plots: E-MMSE is orange, MMSE dark red
  const BLUE = "#0060a8", ORANGE = "#e07609", RED = "#8e2000";
  const PURPLE = "#6f0f5a", GREEN = "#00735c";
  // The address of SVG's names, which no page here shall spell out.
  const holder = document.createElement("div");
  holder.innerHTML = "<svg></svg>";
  const SVG = holder.firstChild.namespaceURI;
  const shape = (parent, tag, attributes, text) => {
    const element = parent.appendChild(document.createElementNS(SVG, tag));
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Axes, and from data to places in the drawing. Lines: {points, color, dash, fill}.
  const chart = (svg, {x, y, xLabel, yLabel, xTicks, yTicks, log, square}) => {
    const width = Math.max(260, Math.min(620, svg.parentElement.clientWidth || 560));
    const height = square ? width * 0.8 : Math.max(200, width * 0.46);
    const [left, right, top, bottom] = [52, 10, 12, 44];
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const lift = log ? Math.log10 : v => v;
    const px = v => left + (v - x[0]) / (x[1] - x[0]) * (width - left - right);
    const py = v => height - bottom -
      (lift(v) - lift(y[0])) / (lift(y[1]) - lift(y[0])) * (height - top - bottom);
    for (const tick of xTicks) {
      shape(svg, "line", {x1: px(tick), x2: px(tick), y1: top, y2: height - bottom, class: "grid"});
      shape(svg, "text", {x: px(tick), y: height - bottom + 16, class: "middle"}, tick);
    }
    for (const tick of yTicks) {
      shape(svg, "line", {x1: left, x2: width - right, y1: py(tick), y2: py(tick), class: "grid"});
      const label = log && tick < 0.01 ? tick.toExponential() : tick;
      shape(svg, "text", {x: left - 6, y: py(tick) + 4, class: "end"}, label);
    }
    shape(svg, "text", {x: (left + width - right) / 2, y: height - 8, class: "middle"}, xLabel);
    const turn = `rotate(-90 12 ${(height - bottom) / 2})`;
    shape(svg, "text", {x: 12, y: (height - bottom) / 2, class: "middle", transform: turn}, yLabel);
    const inside = v => Math.min(height - bottom, Math.max(top, v));
    const line = (points, color, dash = "", fill = "none") => {
      const d = points.map(([a, b], i) =>
        `${i ? "L" : "M"}${px(a).toFixed(1)} ${inside(py(b)).toFixed(1)}`).join("");
      shape(svg, "path", {d, stroke: color, "stroke-dasharray": dash, fill, "fill-opacity": 0.2,
        "stroke-width": 2.2});
    };
    const dot = (a, b, color, radius = 6) => shape(svg, "circle",
      {cx: px(a), cy: py(b), r: radius, fill: color, stroke: "#fff", "stroke-width": 1.5});
    return {px, py, line, dot, left, right, top, bottom, width, height};
  };
  const legend = (parent, entries) => {
    const list = make(parent, "p", {class: "legend"});
    entries.forEach(([text, color, dash]) => {
      const item = make(list, "span"), svg = shape(item, "svg", {viewBox: "0 0 30 10"});
      shape(svg, "line", {x1: 1, x2: 29, y1: 5, y2: 5, stroke: color, "stroke-width": 3,
        "stroke-dasharray": dash ?? ""});
      item.append(` ${text}`);
    });
  };
  const svgIn = (parent, label, movable) => {
    const holder = make(parent, "div");
    const svg = shape(holder, "svg", {class: "chart", "aria-label": label,
      role: movable ? "application" : "img", ...(movable ? {tabindex: 0} : {})});
    return svg;
  };
  const redraw = (svg, show) => {
    let width = 0;
    new ResizeObserver(() => {
      const now = svg.parentElement.clientWidth;
      if (now !== width) { width = now; show(); }
    }).observe(svg.parentElement);
  };

  // A script of each kind adds its own `kinds` and `compute`; a scene adds its data.
  const kinds = {}, compute = {};
  const add = (root, data) => {
    const live = document.getElementById(root).querySelector(".live");
    live.hidden = false;
    live.replaceChildren();
    kinds[data.kind](live, data);
  };
  const tools = {
    bytes, wrap, sum, range, clamp, steps, percent, short, make, slider, choice, draggable,
    speaker, BLUE, ORANGE, RED, PURPLE, GREEN, chart, legend, svgIn, redraw, shape};
  return {kinds, compute, add, tools};
})();

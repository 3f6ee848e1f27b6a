// A noisy image, one patch of it, the training patches that vote, and a small network.
(() => {
  "use strict";
  const {
    bytes, wrap, sum, range, clamp, percent, short, make, slider, choice, draggable, speaker,
    ORANGE} = window.lemmseScenes.tools;

  const pixelsOf = text => Float64Array.from(new Uint8Array(bytes(text)), v => v / 255);
  const noiseOf = text => Float64Array.from(new Int8Array(bytes(text)), v => v / 32);
  // Images one after the other, each with `reach` pixels of its other side around it.
  const padded = (images, height, width, reach) => {
    const count = images.length / (height * width), w = width + 2 * reach;
    const out = new Float64Array(count * (height + 2 * reach) * w);
    let at = 0;
    for (let n = 0; n < count; n++)
      for (let i = -reach; i < height + reach; i++)
        for (let j = -reach; j < width + reach; j++)
          out[at++] = images[(n * height + wrap(i, height)) * width + wrap(j, width)];
    return out;
  };

  const patchOf = (image, height, width, row, column, reach) => {
    const patch = [];
    for (let i = -reach; i <= reach; i++)
      for (let j = -reach; j <= reach; j++)
        patch.push(image[wrap(row + i, height) * width + wrap(column + j, width)]);
    return patch;
  };

  // A weight below e^-50 of the largest one is taken for zero: doubles do not see it in the sums.
  const NEGLIGIBLE = 50;

  // Half squared distances over sigma^2 of one patch to those around all pixels of all images.
  const energies = (patch, images, height, width, reach, sigma, out) => {
    const size = 2 * reach + 1, w = width + 2 * reach, h = height + 2 * reach;
    const scale = 1 / (2 * sigma * sigma), count = images.length / (h * w);
    let least = Infinity, at = 0;
    for (let n = 0; n < count; n++)
      for (let r = 0; r < height; r++)
        for (let c = 0; c < width; c++) {
          const bound = (least + NEGLIGIBLE) / scale;
          let total = 0;
          for (let i = 0; i < size && total <= bound; i++) {
            const first = (n * h + r + i) * w + c, mine = i * size;
            for (let j = 0; j < size; j++) {
              const gap = images[first + j] - patch[mine + j];
              total += gap * gap;
            }
          }
          const energy = total <= bound ? total * scale : Infinity;
          if (energy < least) least = energy;
          out[at++] = energy;
        }
    return least;
  };

  // The posterior of one pixel: LE-MMSE, formula (7.2), and what can be read off its weights.
  const posterior = (energy, least, values) => {
    let total = 0, first = 0, squares = 0;
    for (let a = 0; a < energy.length; a++) {
      if (energy[a] > least + NEGLIGIBLE) continue;
      const weight = Math.exp(least - energy[a]);
      total += weight; first += weight * values[a]; squares += weight * weight;
    }
    const estimate = first / total;
    let spread = 0;
    for (let a = 0; a < energy.length; a++) {
      if (energy[a] > least + NEGLIGIBLE) continue;
      spread += Math.exp(least - energy[a]) * (values[a] - estimate) ** 2;
    }
    return {estimate, deviation: Math.sqrt(spread / total), total,
      effective: total * total / squares};
  };

  const largest = (energy, k) => {
    const best = [];
    for (let a = 0; a < energy.length; a++) {
      if (best.length === k && !(energy[a] < energy[best[k - 1]])) continue;
      let at = best.length;
      while (at > 0 && energy[a] < energy[best[at - 1]]) at--;
      best.splice(at, 0, a);
      if (best.length > k) best.pop();
    }
    return best;
  };

  // ---- a small network: lemmse.networks.PatchMLP ----------------------------------------------

  const readNetwork = raw => ({
    statistics: raw.statistics, frequencies: raw.frequencies, blocks: raw.blocks,
    layers: Object.fromEntries(Object.entries(raw.layers).map(([name, layer]) =>
      [name, {...layer, numbers: Float64Array.from(new Int16Array(bytes(layer.data)),
        v => v * layer.scale)}])),
  });

  // weights (outputs, inputs) then biases (outputs), applied to one vector
  const linear = ({numbers, inputs, outputs}, x) => {
    const y = new Float64Array(outputs), biases = inputs * outputs;
    for (let o = 0; o < outputs; o++) {
      let total = numbers[biases + o];
      for (let i = 0; i < inputs; i++) total += numbers[o * inputs + i] * x[i];
      y[o] = total;
    }
    return y;
  };
  const silu = x => x.map(v => v / (1 + Math.exp(-v)));

  // What depends on sigma alone: the modulation of every block.
  const modulations = (network, sigma) => {
    const angles = network.frequencies.map(f => f * Math.log(sigma)), {layers} = network;
    const features = [...angles.map(Math.sin), ...angles.map(Math.cos)];
    const hidden = linear(layers.embed2, silu(linear(layers.embed1, features)));
    const embedding = silu(hidden);
    return range(network.blocks).map(b => linear(layers[`modulation${b}`], embedding));
  };

  const networkPixel = (network, modulation, patch, sigma) => {
    const [mx, mz, vx, vz, c, e0, gain] = network.statistics, {layers} = network;
    const variance = vz + gain * sigma * sigma;
    const error = (e0 * vz + vx * gain * sigma * sigma) / variance;
    let h = linear(layers.first, patch.map(v => (v - mz) / Math.sqrt(variance)));
    for (let b = 0; b < network.blocks; b++) {
      const norm = 1 / Math.sqrt(sum(h.map(v => v * v)) / h.length + 1e-6);
      const scale = modulation[b], n = h.length;
      const inside = h.map((v, i) => v * norm * (1 + scale[i]) + scale[n + i]);
      const step = linear(layers[`second${b}`], silu(linear(layers[`first${b}`], inside)));
      h = h.map((v, i) => v + step[i]);
    }
    const guess = mx + c / variance * (patch[(patch.length - 1) / 2] - mz);
    return guess + Math.sqrt(error) * linear(layers.last, h)[0];
  };

  // ---- what the scenes compute ----------------------------------------------------------------

  const readPixels = data => {
    const [height, width] = data.size;
    const images = pixelsOf(data.images);
    return {...data, height, width, values: images, buffer: new Float64Array(images.length),
      padded: Object.fromEntries(
        data.sizes.map(p => [p, padded(images, height, width, (p - 1) / 2)])),
      pictures: data.pictures.map(picture => ({...picture, truth: pixelsOf(picture.truth),
        noise: noiseOf(picture.noise)})),
      networks: Object.fromEntries(
        Object.entries(data.networks).map(([p, raw]) => [p, readNetwork(raw)]))};
  };

  const measured = (scene, {picture, sigma}) => {
    const {truth, noise} = scene.pictures[picture];
    return truth.map((v, i) => v + sigma * noise[i]);
  };

  // One pixel: {measured, truth, estimate, deviation, effective, network, voters}.
  const pixel = (scene, state, y = measured(scene, state), k = scene.k) => {
    const {height, width} = scene, {row, column, sigma, size} = state, reach = (size - 1) / 2;
    const patch = patchOf(y, height, width, row, column, reach), energy = scene.buffer;
    const least = energies(patch, scene.padded[size], height, width, reach, sigma, energy);
    const found = posterior(energy, least, scene.values), network = scene.networks[size];
    const voters = largest(energy, k).map(a => ({
      weight: Math.exp(least - energy[a]) / found.total, image: Math.floor(a / (height * width)),
      row: Math.floor(a / width) % height, column: a % width,
    }));
    const truth = scene.pictures[state.picture].truth[row * width + column];
    return {measured: y[row * width + column], truth, estimate: found.estimate,
      deviation: found.deviation, effective: found.effective, voters,
      network: network ? networkPixel(network, modulations(network, sigma), patch, sigma) : null};
  };

  const networkPlane = (scene, state, y) => {
    const network = scene.networks[state.size], {height, width} = scene;
    if (!network) return null;
    const modulation = modulations(network, state.sigma), reach = (state.size - 1) / 2;
    return range(height * width).map(n => networkPixel(network, modulation,
      patchOf(y, height, width, Math.floor(n / width), n % width, reach), state.sigma));
  };

  // ---- the picture --------------------------------------------------------------------------

  const grey = v => `rgb(${Array(3).fill(Math.round(255 * Math.min(1, Math.max(0, v))))})`;

  // Values in [0, 1] as grey squares; those that are not there yet are pale blue.
  const paint = (canvas, values, height, width, cell) => {
    const small = document.createElement("canvas");
    small.width = width; small.height = height;
    const picture = new ImageData(width, height);
    for (let n = 0; n < height * width; n++) {
      const level = Math.round(255 * clamp(values[n] ?? 0, 0, 1));
      const color = values[n] === undefined ? [223, 231, 238] : [level, level, level];
      picture.data.set([...color, 255], 4 * n);
    }
    small.getContext("2d").putImageData(picture, 0, 0);
    canvas.width = width * cell;
    canvas.height = height * cell;
    const c = canvas.getContext("2d");
    c.imageSmoothingEnabled = false;
    c.drawImage(small, 0, 0, canvas.width, canvas.height);
    return c;
  };
  const outline = (c, x, y, w, h, color = "#fff") => {
    c.lineWidth = 5; c.strokeStyle = "#000"; c.strokeRect(x, y, w, h);
    c.lineWidth = 2.5; c.strokeStyle = color; c.strokeRect(x, y, w, h);
  };
  // The window around a pixel, on the other side again where it crosses the border.
  const frame = (c, height, width, row, column, size, cell) => {
    const reach = (size - 1) / 2;
    for (const down of [-height, 0, height]) for (const right of [-width, 0, width])
      outline(c, (column + right - reach) * cell, (row + down - reach) * cell,
        size * cell, size * cell);
  };
  const patchCanvas = (canvas, patch) => {
    const size = Math.sqrt(patch.length), cell = Math.floor(120 / size), half = (size - 1) / 2;
    outline(paint(canvas, patch, size, size, cell), half * cell, half * cell, cell, cell, ORANGE);
  };

  const decibels = (a, b) =>
    -10 * Math.log10(Math.max(1e-6, sum(a.map((v, i) => (v - b[i]) ** 2)) / a.length));

  // The kernel of a notebook answers through two hidden widgets beside the scene.
  const kernel = (name, take, fail) => {
    let count = 0, asked = null, next = null, since = 0;
    const find = part => document.querySelector(`.${name}-${part}`);
    const send = state => {
      const area = find("question")?.querySelector("textarea");
      since = Date.now();
      asked = {...state, count: ++count};
      if (!area) return;
      area.value = JSON.stringify(asked);
      for (const kind of ["input", "change"]) area.dispatchEvent(new Event(kind, {bubbles: true}));
    };
    const timer = setInterval(() => {
      if (!asked) return;
      const text = find("reply")?.textContent.trim();
      const reply = text ? JSON.parse(text) : {};
      if (reply.count === count) {
        asked = null;
        take(reply);
        if (next) { send(next); next = null; }
      } else if (Date.now() - since > 20000) {
        clearInterval(timer);
        fail();
      } else if (!find("question")?.querySelector("textarea")?.value) {
        send(next ?? asked);  // the widgets were not there yet
      }
    }, 40);
    return state => { if (asked) next = state; else send(state); };
  };

  const CELL = 10;  // dots of the canvas a pixel

  const mountPixels = (live, data) => {
    const scene = readPixels(data), {height, width} = scene;
    const state = {...data.start};
    let y, estimate = [], deviation = [], network = null, job = 0, answer;
    const controls = make(live, "div", {class: "controls"});
    if (scene.pictures.length > 1)
      choice(controls, "picture", scene.pictures.map((p, i) => [i, p.name]), state.picture,
        value => { state.picture = value; renew(); });
    const [low, high] = data.sigmas;
    slider(controls, "noise level σ", {low, high, log: true}, state.sigma,
      value => { state.sigma = value; renew(); });
    slider(controls, "patch size P", {values: data.sizes, text: p => `${p} × ${p}`}, state.size,
      value => { state.size = value; renew(); });

    const views = make(live, "div", {class: "views"});
    const view = (title, label) => {
      const box = make(views, "div");
      make(box, "b", {}, title);
      const canvas = make(box, "canvas", {role: "img", "aria-label": label});
      return {canvas, note: make(box, "span")};
    };
    const screen = view("measurement", `${data.alt}. Arrow keys move the patch.`);
    const formula = view("the formula, LE-MMSE", "The estimate of the formula");
    const small = view("a small network", "The estimate of a small trained network");
    const extra = data.full ? view("how sure: deviation × 5", "Posterior deviation") : null;
    screen.canvas.classList.add("screen");
    screen.canvas.setAttribute("role", "application");
    screen.canvas.tabIndex = 0;

    const reading = make(live, "div", {class: "reading"});
    const seen = make(reading, "div", {class: "seen"});
    make(seen, "b", {}, "the patch");
    const query = make(seen, "canvas", {role: "img", "aria-label": "The noisy patch"});
    const list = make(reading, "ol");
    const items = range(data.k).map(() => {
      const item = make(list, "li");
      const patch = make(item, "canvas", {role: "img", "aria-label": "A training patch"});
      make(item, "i");
      const share = make(item, "b"), place = make(item, "span");
      const whole = data.full ?
        make(item, "canvas", {role: "img", "aria-label": "The image it is from"}) : null;
      return {item, patch, share, place, whole};
    });
    const swatches = make(live, "div", {class: "swatches"});
    const swatch = Object.fromEntries(["measured", "formula", "network", "truth"].map(name => {
      const box = make(swatches, "span"), colour = make(box, "i");
      return [name, {colour, text: make(box, "b", {}, name)}];
    }));
    const say = speaker(live), source = make(live, "p", {class: "note"});

    const marked = (canvas, values) => {
      const c = paint(canvas, values, height, width, CELL);
      outline(c, state.column * CELL, state.row * CELL, CELL, CELL, ORANGE);
      return c;
    };
    const drawEstimates = () => {
      marked(formula.canvas, estimate);
      if (extra) marked(extra.canvas, deviation.map(v => 5 * v));
      const {truth} = scene.pictures[state.picture], done = estimate.length === height * width;
      formula.note.textContent = done ? `${decibels(estimate, truth).toFixed(1)} dB` : "…";
      small.note.textContent = !network ? "none for this P" :
        `${decibels(network, truth).toFixed(1)} dB` +
        (done ? `; to the formula ${decibels(network, estimate).toFixed(1)} dB` : "");
    };
    const drawViews = () => {
      const c = marked(screen.canvas, y);
      frame(c, height, width, state.row, state.column, state.size, CELL);
      outline(c, state.column * CELL, state.row * CELL, CELL, CELL, ORANGE);
      screen.note.textContent =
        `${decibels(y, scene.pictures[state.picture].truth).toFixed(1)} dB`;
      marked(small.canvas, network ?? []);
      drawEstimates();
    };
    const patchAt = (image, row, column) => patchOf(scene.values.subarray(
      image * height * width, (image + 1) * height * width), height, width, row, column,
      (state.size - 1) / 2);
    const drawVoters = () => answer.voters.forEach((voter, i) => {
      const {item, patch, share, place, whole} = items[i];
      patchCanvas(patch, voter.patch ?? patchAt(voter.image, voter.row, voter.column));
      const most = answer.voters[0].weight;
      item.querySelector("i").style.width = `${Math.max(1, 100 * voter.weight / most)}%`;
      share.textContent = percent(voter.weight);
      place.textContent = `image ${voter.image + 1}`;
      if (!whole) return;
      const image = scene.values.subarray(voter.image * height * width,
        (voter.image + 1) * height * width);
      frame(paint(whole, image, height, width, 5), height, width, voter.row, voter.column,
        state.size, 5);
    });
    const drawAnswer = () => {
      patchCanvas(query, patchOf(y, height, width, state.row, state.column, (state.size - 1) / 2));
      drawVoters();
      const values = {measured: answer.measured, formula: answer.estimate,
        network: answer.network, truth: answer.truth};
      Object.entries(values).forEach(([name, value]) => {
        swatch[name].colour.style.background = value === null ? "none" : grey(value);
        swatch[name].text.textContent = `${name} ${value === null ? "–" : value.toFixed(2)}`;
      });
      const share = sum(answer.voters.map(v => v.weight));
      const net = answer.network === null ? "" : `, network ${answer.network.toFixed(2)}`;
      say(`Row ${state.row}, column ${state.column}: measured ${answer.measured.toFixed(2)}, ` +
        `formula ${answer.estimate.toFixed(2)} ± ${answer.deviation.toFixed(2)}${net}, truth ` +
        `${answer.truth.toFixed(2)}. About ${short(answer.effective)} patches share the vote; ` +
        `those shown have ${percent(Math.min(1, share))} of it.`);
    };
    // The whole picture, a slice of pixels between two frames of the screen.
    const fill = mine => {
      if (mine !== job) return;
      const end = performance.now() + 25;
      while (estimate.length < height * width && performance.now() < end) {
        const n = estimate.length, at = {...state, row: Math.floor(n / width), column: n % width};
        const found = pixel(scene, at, y, 0);
        estimate.push(found.estimate);
        deviation.push(found.deviation);
      }
      drawEstimates();
      if (estimate.length < height * width) requestAnimationFrame(() => fill(mine));
    };
    const local = planes => {
      answer = pixel(scene, state, y);
      if (planes) {
        estimate = []; deviation = [];
        network = networkPlane(scene, state, y);
        requestAnimationFrame(() => fill(job));
      }
      drawViews();
      drawAnswer();
    };
    let ask = data.engine && kernel(data.engine, reply => {
      if (reply.estimates) {
        ({estimates: estimate, deviations: deviation, networks: network} = reply);
      }
      answer = reply;
      source.textContent = "computed by LEMMSE in the notebook's kernel";
      drawViews();
      drawAnswer();
    }, () => {
      ask = null;
      source.textContent = "The kernel does not answer: the page computes by itself.";
      local(true);
    });
    const renew = () => {
      job++;
      y = measured(scene, state);
      if (!ask) return local(true);
      drawViews();
      ask({...state, planes: true});
    };
    const move = (row, column) => {
      const to = {row: clamp(row, 0, height - 1), column: clamp(column, 0, width - 1)};
      if (to.row === state.row && to.column === state.column) return;
      Object.assign(state, to);
      if (!ask) return local(false);
      drawViews();
      ask({...state, planes: estimate.length === 0});
    };
    for (const canvas of [screen, formula, small].map(v => v.canvas))
      draggable(canvas, (x, up) => move(Math.floor(up * height), Math.floor(x * width)),
        (right, down) => move(state.row + down, state.column + right));
    renew();
  };

  window.lemmseScenes.kinds.pixels = mountPixels;
  Object.assign(window.lemmseScenes.compute, {readPixels, measured, pixel, networkPlane});
})();

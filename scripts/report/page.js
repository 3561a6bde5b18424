"use strict";
{
  const points = JSON.parse(document.getElementById("data").textContent);
  const axes = {
    size: { title: "size on disk, MB", unit: "MB", less: true },
    speed: { title: "documents per second", unit: "docs/s", less: false },
    latency: { title: "latency, ms for one document", unit: "ms", less: true },
    memory: { title: "peak memory, MB", unit: "MB of memory", less: true },
    installed: { title: "packages to install, MB", unit: "MB of packages", less: true },
    train: { title: "training time, s", unit: "s of training", less: true },
  };
  const chart = document.getElementById("chart");
  const limits = { size: Infinity, speed: 0 };
  let axis = "size";

  /* As format_number in page.py. */
  const format = (value) => {
    if (value === null) return "–";
    if (value >= 100) return Math.round(value).toLocaleString("en");
    return value >= 1 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : String(Number(value.toPrecision(2)));
  };
  const fits = (point) => point.size <= limits.size && (limits.speed === 0 || (point.speed !== null && point.speed >= limits.speed));
  const create = (name, attributes, parent, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent?.append(element);
    return element;
  };
  const describe = (point) => {
    const interval = point.low === null ? "" : ` (${point.low.toFixed(3)} to ${point.high.toFixed(3)})`;
    const costs = Object.entries(axes).filter(([key]) => point[key] !== null).map(([key, { unit }]) => `${format(point[key])} ${unit}`);
    return [`macro-F1 ${point.f1.toFixed(3)}${interval}`, ...costs];
  };

  /* Those that no other beats on macro-F1 and the axis; peers do not take part. */
  const paretoFront = (shown) => {
    const cost = (point) => (axes[axis].less ? point[axis] : -point[axis]);
    const beats = (a, b) => a.f1 >= b.f1 && cost(a) <= cost(b) && (a.f1 > b.f1 || cost(a) < cost(b));
    const own = shown.filter((point) => !point.peer);
    return own.filter((point) => !own.some((other) => beats(other, point))).sort((a, b) => a[axis] - b[axis]);
  };

  /* Round values of a log axis; the fewer decades, the more of each. */
  const logTicks = (low, high) => {
    const digits = Math.log10(high / low) > 3 ? [1] : Math.log10(high / low) > 1.2 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const digit of digits) {
        const tick = digit * 10 ** power;
        if (tick >= low && tick <= high) ticks.push(Number(tick.toPrecision(2)));
      }
    return ticks;
  };

  const svg = create("svg", { role: "group", "aria-label": "Macro-F1 of each variant against its cost" });
  const frame = create("g", {}, svg);
  const line = create("path", { class: "front" }, svg);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const marks = points.map((point) => {
    const group = create("g", { class: point.peer ? "point peer" : "point", tabindex: 0, role: point.id ? "link" : "img" }, svg);
    group.setAttribute("aria-label", `${point.name}: ${describe(point).join(", ")}`);
    const bar = create("path", {}, group);
    const leader = create("path", { class: "leader" }, group);
    create("circle", { r: 6.5 }, group);
    const name = point.name.length > 28 ? `${point.name.slice(0, 27)}…` : point.name;
    const label = create("text", { "text-anchor": "middle" }, group, name);
    const open = () => {
      if (!point.id) return;
      const details = document.getElementById(point.id);
      details.open = true;
      details.scrollIntoView();
      details.querySelector("summary").focus({ preventScroll: true });
    };
    const show = () => {
      const head = document.createElement("b");
      head.textContent = point.name;
      tip.replaceChildren(head, ...describe(point).flatMap((text) => [text, document.createElement("br")]));
      tip.hidden = false;
      const box = chart.getBoundingClientRect();
      const at = group.querySelector("circle").getBoundingClientRect();
      tip.style.left = `${Math.max(0, Math.min(at.left - box.left + 18, box.width - tip.offsetWidth))}px`;
      tip.style.top = `${at.top - box.top + 22}px`;
    };
    const hide = () => { tip.hidden = true; };
    group.addEventListener("click", open);
    group.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      if (event.key !== "Enter") return;
      /* Else the same key press would fold what has just been opened and focused. */
      event.preventDefault();
      open();
    });
    for (const name of ["pointerenter", "focus"]) group.addEventListener(name, show);
    for (const name of ["pointerleave", "blur"]) group.addEventListener(name, hide);
    return { point, group, bar, leader, label };
  });

  /* Places for a name around its point, the nearest first, as offsets of the middle of its box. */
  const around = [];
  for (const distance of [1, 14, 28, 44, 62, 82])
    for (const angle of [-30, 30, 0, 210, 150, 180, -60, 60, 240, 120, -90, 90]) {
      const turn = (angle * Math.PI) / 180;
      around.push([Math.cos(turn), Math.sin(turn), distance]);
    }
  const NEAR = 12; /* a name further from its point gets a line */
  const meets = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
  const nearest = (box, x, y) => [Math.max(box[0], Math.min(x, box[2])) - x, Math.max(box[1], Math.min(y, box[3])) - y];
  const gap = (box, { x, y }) => Math.hypot(...nearest(box, x, y));

  /* Put each name where it covers no point, name, bar or line; a thin line leads to one that had to go further away. */
  const placeLabels = (placed, area, front) => {
    const taken = placed.map(({ x, y }) => [x - 8, y - 8, x + 8, y + 8]);
    const lines = placed.filter(({ bar }) => bar).map(({ x, bar }) => [x - 2, bar[0], x + 2, bar[1]]);
    front.slice(1).forEach(([x1, y1], i) => {
      const [x0, y0] = front[i], steps = Math.ceil(Math.hypot(x1 - x0, y1 - y0) / 5);
      for (let step = 0; step <= steps; step++) {
        const x = x0 + ((x1 - x0) * step) / steps, y = y0 + ((y1 - y0) * step) / steps;
        lines.push([x - 2, y - 2, x + 2, y + 2]);
      }
    });
    const isBest = ({ mark }) => mark.group.classList.contains("best");
    for (const own of [...placed].sort((a, b) => isBest(b) - isBest(a))) {
      const { x, y, mark } = own, { label, leader } = mark;
      label.style.display = "";
      const wide = (label.getComputedTextLength() || label.textContent.length * 7.2) / 2 + 3, high = 8;
      const boxAt = ([dx, dy, distance]) => {
        const middle = x + dx * (wide + 8 + distance), level = y + dy * (high + 8 + distance);
        return [middle - wide, level - high, middle + wide, level + high];
      };
      const inside = (box) => box[0] >= area[0] && box[1] >= area[1] && box[2] <= area[2] && box[3] <= area[3];
      /* Beside another point, a name would seem to be that one's. */
      const clear = (box) => gap(box, own) > NEAR || placed.every((other) => gap(box, own) <= gap(box, other));
      const reach = area[2] > 500 || isBest(own) ? around : around.filter(([, , distance]) => distance < NEAR);
      const box = reach.map(boxAt).find((box) => inside(box) && clear(box) && ![...taken, ...lines].some((other) => meets(box, other)));
      /* Where there is no room, as on a phone, the name shows on tap or focus only. */
      label.style.display = box ? "" : "none";
      leader.setAttribute("d", "");
      if (!box) continue;
      taken.push(box);
      label.setAttribute("x", (box[0] + box[2]) / 2 - x);
      label.setAttribute("y", box[1] + 12 - y);
      const end = nearest(box, x, y), far = gap(box, own);
      if (far > NEAR) leader.setAttribute("d", `M${(end[0] * 8) / far} ${(end[1] * 8) / far}L${end[0]} ${end[1]}`);
    }
  };

  const draw = () => {
    const width = chart.clientWidth, height = Math.max(300, Math.min(460, width * 0.62));
    const edge = { left: 46, right: 16, top: 14, bottom: 50 };
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const shown = points.filter((point) => point[axis] !== null && point[axis] > 0);
    const values = shown.map((point) => point[axis]);
    const low = Math.min(...values, Infinity) / 1.6, high = Math.max(...values, 0) * 1.9;
    const ends = shown.flatMap((point) => [point.f1, point.low ?? point.f1, point.high ?? point.f1]);
    const bottom = Math.max(0, Math.min(...ends, 1) - 0.015), top = Math.min(1, Math.max(...ends, 0) + 0.015);
    const toX = (value) => edge.left + (Math.log(value / low) / Math.log(high / low)) * (width - edge.left - edge.right);
    const toY = (value) => edge.top + ((top - value) / (top - bottom)) * (height - edge.top - edge.bottom);
    frame.replaceChildren();
    const step = [0.01, 0.02, 0.05, 0.1, 0.2].find((step) => (top - bottom) / step <= 7) ?? 0.2;
    for (let value = Math.ceil(bottom / step) * step; value <= top + 1e-9; value += step) {
      create("path", { class: "grid", d: `M${edge.left} ${toY(value)}H${width - edge.right}` }, frame);
      create("text", { x: edge.left - 8, y: toY(value) + 4, "text-anchor": "end" }, frame, value.toFixed(2));
    }
    let last = -Infinity;
    for (const value of shown.length ? logTicks(low, high) : []) {
      create("path", { class: "grid", d: `M${toX(value)} ${edge.top}V${height - edge.bottom}` }, frame);
      if (toX(value) - last < 38) continue;
      last = toX(value);
      create("text", { x: last, y: height - edge.bottom + 18, "text-anchor": "middle" }, frame, value >= 1000 ? value.toLocaleString("en") : value);
    }
    const title = axes[axis].less ? `← ${axes[axis].title}` : `${axes[axis].title} →`;
    create("text", { x: (edge.left + width - edge.right) / 2, y: height - 8, "text-anchor": "middle", class: "title" }, frame, title);
    create("text", { x: edge.left + 6, y: edge.top + 4 }, frame, "↑ macro-F1");
    const front = paretoFront(shown);
    const placed = [];
    for (const mark of marks) {
      const { point, group, bar } = mark;
      const visible = shown.includes(point);
      group.style.display = visible ? "" : "none";
      if (!visible) continue;
      const x = toX(point[axis]), y = toY(point.f1);
      group.style.transform = `translate(${x}px, ${y}px)`;
      group.classList.toggle("best", front.includes(point));
      const ends = point.low === null ? null : [toY(point.high), toY(point.low)];
      bar.setAttribute("d", ends ? `M0 ${ends[1] - y}V${ends[0] - y}` : "");
      placed.push({ x, y, mark, bar: ends });
    }
    const way = front.map((point) => [toX(point[axis]), toY(point.f1)]);
    line.setAttribute("d", way.length > 1 ? `M${way.join("L")}` : "");
    placeLabels(placed, [edge.left, edge.top + 10, width, height - edge.bottom], way);
    svg.dataset.axis = axis;
  };

  const choose = () => {
    for (const { point, group } of marks) group.classList.toggle("out", !fits(point));
    for (const row of document.querySelectorAll("#variants tr[data-id]"))
      row.classList.toggle("out", !fits(points.find((point) => point.id === row.dataset.id)));
    const own = points.filter((point) => !point.peer);
    const fitting = own.filter(fits).sort((a, b) => b.score - a.score || a.size - b.size);
    const output = document.getElementById("choice");
    if (fitting.length === 0) {
      const smallest = own.reduce((a, b) => (a.size <= b.size ? a : b)), fastest = own.reduce((a, b) => (a.speed >= b.speed ? a : b));
      output.textContent = `No variant fits. The smallest, ${smallest.name}, has ${format(smallest.size)} MB; the fastest, ${fastest.name}, gives ${format(fastest.speed)} docs/s.`;
      return;
    }
    /* By the rule of the headline: the smallest that is not worse than the most accurate by more than chance. */
    const [best] = fitting;
    const good = fitting.filter((point) => point === best || !point.worse.includes(best.name)).sort((a, b) => a.size - b.size);
    const [pick] = good;
    const name = document.createElement("b");
    name.textContent = pick.name;
    output.replaceChildren(name, `macro-F1 ${pick.score.toFixed(3)}, ${format(pick.size)} MB, ${format(pick.speed)} docs/s`);
    const fastest = good.reduce((a, b) => (b.speed > a.speed ? b : a));
    const notes = [];
    if (fastest !== pick) notes.push(`As good, and the fastest: ${fastest.name}, ${format(fastest.speed)} docs/s.`);
    if (best !== pick) notes.push(`${best.name} scores ${best.score.toFixed(3)}; the difference could be chance.`);
    if (notes.length) {
      const note = document.createElement("small");
      note.textContent = notes.join(" ");
      output.append(document.createElement("br"), note);
    }
  };

  const sortBy = (header) => {
    const index = [...header.parentNode.children].indexOf(header);
    const body = document.querySelector("#variants tbody");
    /* Names and costs start with the least, scores and speed with the most. */
    const first = [1, 2, 5].includes(index) ? "descending" : "ascending";
    const now = header.getAttribute("aria-sort");
    const order = now === null ? first : now === "ascending" ? "descending" : "ascending";
    for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => ({ row, value: row.cells[index].dataset.v }));
    rows.sort((a, b) => {
      if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "");
      return sign * (index === 0 ? a.value.localeCompare(b.value) : a.value - b.value);
    });
    body.append(...rows.map(({ row }) => row));
  };

  chart.replaceChildren(svg, tip);
  document.getElementById("axes").hidden = false;
  document.getElementById("axes").addEventListener("change", (event) => { axis = event.target.value; draw(); });
  const chooser = document.getElementById("chooser");
  chooser.hidden = false;
  const update = () => {
    const read = (id, none) => {
      const value = document.getElementById(id).valueAsNumber;
      return value > 0 ? value : none;
    };
    limits.size = read("max-size", Infinity);
    limits.speed = read("min-speed", 0);
    choose();
  };
  chooser.addEventListener("input", update);
  chooser.addEventListener("submit", (event) => event.preventDefault());
  chooser.addEventListener("reset", () => setTimeout(update));
  for (const header of document.querySelectorAll("#variants thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => sortBy(header));
  }
  /* A link to a variant, and printing, open what is folded. */
  const reveal = () => { const target = document.getElementById(location.hash.slice(1)); if (target?.matches("details")) target.open = true; };
  addEventListener("hashchange", reveal);
  document.getElementById("variants").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (link) document.getElementById(link.hash.slice(1)).open = true;
  });
  reveal();
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const details of folded) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
  new ResizeObserver(draw).observe(chart);
  draw();
  choose();
}

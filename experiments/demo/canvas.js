// Marking on a picture: drag a box or a stroke, click corners or a point. `props.value` is what Python reads:
// {picture: {src, width, height}, frame, regions: [{frame, name, box | polygon | stroke | mask}]}, in pixels of the
// source; a mask, which Python may put in the place of a click, is COCO's run-length code.
let tool = "box";
let held = null; // points of what is being drawn, in pixels of the source
let image = null;

const value = () => props.value || { picture: null, frame: 0, regions: [] };
const canvas = () => element.querySelector("canvas");
const radius = () => Math.max(1, value().picture.width / 100);
const colour = (number) => props.colours[number % props.colours.length];

function place(event) {
  const at = canvas().getBoundingClientRect();
  const { width, height } = value().picture;
  const within = (share, most) => Math.round(10 * Math.min(Math.max(share, 0), 1) * most) / 10;
  return [
    within((event.clientX - at.left) / at.width, width),
    within((event.clientY - at.top) / at.height, height),
  ];
}

function trace(pen, region, scale) {
  pen.beginPath();
  if (region.box) {
    const [x0, y0, x1, y1] = region.box.map((number) => number * scale);
    pen.rect(x0, y0, x1 - x0, y1 - y0);
  } else if (region.polygon) {
    for (const ring of region.polygon) {
      for (let at = 0; at < ring.length; at += 2) pen.lineTo(ring[at] * scale, ring[at + 1] * scale);
      pen.closePath();
    }
  } else if (region.stroke) {
    const { points, radius: wide } = region.stroke;
    pen.lineWidth = 2 * wide * scale;
    pen.lineCap = pen.lineJoin = "round";
    pen.globalAlpha = 0.6;
    for (let at = 0; at < points.length; at += 2) pen.lineTo(points[at] * scale, points[at + 1] * scale);
    if (points.length === 2) pen.lineTo(points[0] * scale + 0.01, points[1] * scale);
  }
}

// COCO's compressed counts -> the runs of pixels outside and inside in turn, column by column
function runs(counts) {
  const found = [];
  for (let at = 0; at < counts.length; ) {
    let run = 0;
    for (let shift = 0, more = true; more; shift += 5) {
      const part = counts.charCodeAt(at++) - 48;
      run |= (part & 31) << shift;
      more = Boolean(part & 32);
      if (!more && part & 16) run |= -1 << (shift + 5);
    }
    found.push(found.length > 2 ? run + found[found.length - 2] : run);
  }
  return found;
}

function painted(mask, shade) {
  const [height, width] = mask.size;
  const layer = Object.assign(document.createElement("canvas"), { width, height });
  const pen = layer.getContext("2d");
  const top = [width, height];
  pen.fillStyle = shade;
  let from = 0;
  runs(mask.counts).forEach((run, turn) => {
    for (let at = from; turn % 2 && at < from + run; at += height - (at % height)) {
      const [x, y] = [Math.floor(at / height), at % height];
      pen.fillRect(x, y, 1, Math.min(from + run - at, height - y));
      if (x < top[0]) top.splice(0, 2, x, y);
    }
    from += run;
  });
  return { layer, top };
}

function corner(region) {
  if (region.mask) return painted(region.mask, "#000").top;
  const points = region.box || (region.polygon ? region.polygon[0] : region.stroke.points);
  return [points[0], points[1]];
}

function draw() {
  const { picture, regions, frame } = value();
  const board = canvas();
  board.hidden = !picture;
  element.querySelector(".hint").hidden = Boolean(picture);
  if (!picture) return;
  if (!image || image.src !== picture.src) {
    image = new Image();
    image.onload = draw;
    image.src = picture.src;
    return;
  }
  board.width = Math.max(image.naturalWidth, 640);
  board.height = Math.round((board.width * picture.height) / picture.width);
  const scale = board.width / picture.width;
  const pen = board.getContext("2d");
  pen.imageSmoothingEnabled = image.naturalWidth >= 320;
  pen.drawImage(image, 0, 0, board.width, board.height);
  const shown = regions.map((region, number) => [region, colour(number), String(number)]);
  if (held) shown.push([shape(held, true), "#ffffff", ""]);
  for (const [region, shade, name] of shown) {
    if (region.frame !== frame) continue;
    pen.save();
    pen.lineWidth = 3;
    pen.strokeStyle = shade;
    if (region.mask) {
      pen.globalAlpha = 0.5;
      pen.drawImage(painted(region.mask, shade).layer, 0, 0, board.width, board.height);
    } else {
      trace(pen, region, scale);
      pen.stroke();
    }
    pen.restore();
    if (!name) continue;
    const [x, y] = corner(region).map((number) => number * scale);
    pen.font = "bold 18px sans-serif";
    pen.fillStyle = shade;
    pen.fillRect(x, Math.max(y - 22, 0), 12 * name.length + 10, 22);
    pen.fillStyle = "#111";
    pen.fillText(name, x + 5, Math.max(y - 22, 0) + 17);
  }
}

function shape(points, unfinished) {
  const { frame } = value();
  const [first, last] = [points[0], points[points.length - 1]];
  if (tool === "box") {
    const xs = [first[0], last[0]].sort((a, b) => a - b);
    const ys = [first[1], last[1]].sort((a, b) => a - b);
    return { frame, name: "", box: [xs[0], ys[0], xs[1], ys[1]] };
  }
  if (tool === "polygon" && !unfinished) return { frame, name: "", polygon: [points.flat()] };
  if (tool === "polygon") return { frame, stroke: { points: points.flat(), radius: radius() / 4 } };
  return { frame, name: "", stroke: { points: points.flat(), radius: radius() } };
}

function list() {
  const rows = value().regions.map((region, number) => {
    const row = document.createElement("li");
    row.dataset.number = number;
    const insert = document.createElement("button");
    insert.className = "insert";
    insert.title = "write it into the question";
    insert.textContent = number;
    insert.style.background = colour(number);
    const name = document.createElement("input");
    name.value = region.name || "";
    name.placeholder = `<region${number}>`;
    name.setAttribute("aria-label", `name of region ${number}`);
    const kind = document.createElement("span");
    kind.textContent = `${["box", "polygon", "stroke", "mask"].find((one) => region[one])}, frame ${region.frame}`;
    const remove = document.createElement("button");
    remove.className = "remove";
    remove.title = "delete";
    remove.textContent = "×";
    row.append(insert, name, kind, remove);
    return row;
  });
  element.querySelector("ol").replaceChildren(...rows);
}

function change(regions) {
  props.value = { ...value(), regions };
  show();
  trigger("change");
}

function show() {
  for (const button of element.querySelectorAll("[data-tool]"))
    button.classList.toggle("chosen", button.dataset.tool === tool);
  draw();
  list();
}

function finish() {
  const points = held;
  held = null;
  if (!points) return;
  const region = shape(points, false);
  const empty = region.box && (region.box[2] - region.box[0] < 1 || region.box[3] - region.box[1] < 1);
  if (empty || (region.polygon && points.length < 3)) return draw();
  change([...value().regions, region]);
}

function write(number) {
  const field = document.querySelector("#question textarea");
  const word = `<region${number}>`;
  const [from, to] = [field.selectionStart, field.selectionEnd];
  const before = field.value.slice(0, from);
  field.value = before + (before && !/\s$/.test(before) ? " " : "") + word + field.value.slice(to);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
}

element.addEventListener("pointerdown", (event) => {
  if (event.target !== canvas()) return;
  event.preventDefault();
  if (tool === "polygon") {
    held = [...(held || []), place(event)];
    return draw();
  }
  held = [place(event)];
  canvas().setPointerCapture(event.pointerId);
  if (tool === "click") finish();
});
element.addEventListener("pointermove", (event) => {
  if (!held || tool === "polygon" || event.target !== canvas()) return;
  held = tool === "box" ? [held[0], place(event)] : [...held, place(event)];
  draw();
});
element.addEventListener("pointerup", () => {
  if (held && tool !== "polygon") finish();
});
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.tool) {
    held = null;
    tool = button.dataset.tool;
    return show();
  }
  if (button.className === "close") return finish();
  const number = Number(button.closest("li").dataset.number);
  if (button.className === "insert") return write(number);
  if (button.className === "remove") change(value().regions.filter((_, other) => other !== number));
});
element.addEventListener("change", (event) => {
  if (event.target.tagName !== "INPUT") return;
  const number = Number(event.target.closest("li").dataset.number);
  change(value().regions.map((region, other) => (other === number ? { ...region, name: event.target.value } : region)));
});
watch("value", () => {
  held = null;
  show();
});
show();

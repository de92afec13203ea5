// Many points under the axes of a chart, drawn by WebGL, or by a plain canvas where there is none.
//
// Plotly's own WebGL traces compile shaders with `new Function`, which the policy of these pages forbids; one
// draw call of our own moves 10,000 points as fast.

const VERTEX = `
attribute vec2 place; attribute vec3 colour; attribute vec2 look;
uniform vec2 low; uniform vec2 high; uniform float ratio;
varying vec3 shade; varying float shape;
void main() {
  gl_Position = vec4(2.0 * (place - low) / (high - low) - 1.0, 0.0, 1.0);
  gl_PointSize = look.x * ratio; shade = colour; shape = look.y;
}`;

const FRAGMENT = `
precision mediump float;
varying vec3 shade; varying float shape;
void main() {
  vec2 to = 2.0 * gl_PointCoord - 1.0, at = abs(to);
  float far = length(at);                                      // a circle
  if (shape > 0.5) far = 1.1 * max(at.x, at.y);                // a square
  if (shape > 1.5) far = at.x + at.y;                          // a diamond
  if (shape > 2.5) far = max(2.0 * at.x - to.y, at.y);         // a triangle
  if (shape > 3.5) far = 4.0 * abs(at.x - at.y);               // a cross
  if (far > 1.0) discard;
  gl_FragColor = vec4(0.85 * shade, 0.85);  // the canvas takes colours times their opacity
}`;

export const SHAPES = { searched: 0, published: 1, registered: 2, generated: 3, random: 4 };

export class Points {
  // The canvas lies in `frame`, over the plot area of a chart with these margins.
  constructor(frame, margins) {
    this.margins = margins;
    this.frame = frame;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "points";
    frame.append(this.canvas);
    this.gl = this.canvas.getContext("webgl", { antialias: false });
    if (this.gl) this.prepare();
    else this.flat = this.canvas.getContext("2d");
    this.length = 0;
  }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.program = program;
  }

  // xs, ys: numbers; colours: "#rrggbb" each; sizes in pixels; shapes as `SHAPES` numbers them.
  set(xs, ys, colours, sizes, shapes) {
    Object.assign(this, { xs, ys, colours, sizes, shapes, length: xs.length });
    if (!this.gl) return;
    const data = new Float32Array(7 * xs.length);
    for (let i = 0; i < xs.length; i++) {
      const number = parseInt(colours[i].slice(1), 16);
      data.set([xs[i], ys[i], (number >> 16) / 255, ((number >> 8) & 255) / 255, (number & 255) / 255, sizes[i], shapes[i]], 7 * i);
    }
    const { gl } = this;
    this.buffer ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    let at = 0;
    for (const [name, width] of [["place", 2], ["colour", 3], ["look", 2]]) {
      const place = gl.getAttribLocation(this.program, name);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, width, gl.FLOAT, false, 28, 4 * at);
      at += width;
    }
  }

  // The plot area in pixels of the frame.
  get area() {
    const { l, r, t, b } = this.margins;
    return { left: l, top: t, width: Math.max(1, this.frame.clientWidth - l - r), height: Math.max(1, this.frame.clientHeight - t - b) };
  }

  // x and y: the ranges of the axes.
  draw(x, y) {
    this.x = x;
    this.y = y;
    const { left, top, width, height } = this.area, ratio = devicePixelRatio || 1, { canvas } = this;
    Object.assign(canvas.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    if (!this.gl) return this.drawFlat(ratio);
    const { gl, program } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(gl.getUniformLocation(program, "low"), x[0], y[0]);
    gl.uniform2f(gl.getUniformLocation(program, "high"), x[1], y[1]);
    gl.uniform1f(gl.getUniformLocation(program, "ratio"), ratio);
    if (this.length) gl.drawArrays(gl.POINTS, 0, this.length);
  }

  drawFlat(ratio) {
    const { flat, canvas } = this;
    flat.clearRect(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < this.length; i++) {
      const [px, py] = this.pixel(i), size = this.sizes[i] * ratio;
      flat.fillStyle = this.colours[i];
      flat.fillRect(px * ratio - size / 2, py * ratio - size / 2, size, size);
    }
  }

  // Where a point is, in pixels of the plot area.
  pixel(i) {
    const { width, height } = this.area;
    return [((this.xs[i] - this.x[0]) / (this.x[1] - this.x[0])) * width, (1 - (this.ys[i] - this.y[0]) / (this.y[1] - this.y[0])) * height];
  }

  // The nearest point to a place in the frame, at most so many pixels away; -1 for none.
  at(px, py, most = 14) {
    if (!this.x) return -1;
    const { left, top } = this.area;
    let best = -1, least = most * most;
    for (let i = 0; i < this.length; i++) {
      const [x, y] = this.pixel(i), distance = (x + left - px) ** 2 + (y + top - py) ** 2;
      if (distance < least) { best = i; least = distance; }
    }
    return best;
  }
}

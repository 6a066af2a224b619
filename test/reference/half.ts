// The 16-bit formats, by their definitions. Widening is exact; rounding is to nearest, ties to even.

/** A float16's value: 1 sign bit, 5 exponent bits (bias 15), 10 mantissa bits. */
export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

const floatView = new Float32Array(1);
const bitsView = new Uint32Array(floatView.buffer);

/** A bfloat16's value: the upper half of a float32. */
export function bf16ToNumber(bits: number): number {
  bitsView[0] = bits << 16;
  return floatView[0] as number;
}

/** The nearest bfloat16 of a float32 value, as its 16 bits. */
export function numberToBf16(value: number): number {
  floatView[0] = value;
  const bits = bitsView[0] as number;
  if (Number.isNaN(value)) return 0x7fc0;
  const upper = bits >>> 16;
  const lower = bits & 0xffff;
  const up = lower > 0x8000 || (lower === 0x8000 && (upper & 1) === 1);
  return (upper + (up ? 1 : 0)) & 0xffff;
}

/** The nearest float16 of a value in float16's normal or subnormal range, as its 16 bits. */
export function numberToF16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size === 0) return sign;
  const exponent = Math.max(Math.floor(Math.log2(size)), -14);
  const scaled = size / 2 ** (exponent - 10);
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const rounded = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
  // A mantissa that rounds up to 2048 carries into the exponent by itself; a subnormal has exponent field 0.
  const encoded = (exponent + 14) * 1024 + rounded;
  return sign | Math.min(encoded, 0x7c00);
}

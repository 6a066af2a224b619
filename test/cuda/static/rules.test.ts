// The reader of PTX and fatbins that kernels.slow.ts relies on sees what it must see.
import t from "tap";
import { imagesOf, lz4Block } from "./fatbin.js";
import { readPtx } from "./ptx-rules.js";

const kernel = (lines: string): string => `.version 9.0
.target sm_80
.visible .entry probe_f16(
  .param .align 8 .b8 probe_f16_param_0[40]
)
.maxntid 128
.minnctapersm 2
{
${lines}
  ret;
}
`;
const rulesOf = (lines: string): string[] => readPtx(kernel(lines)).offences.map(({ rule }) => rule);

t.test("a kernel's name, bounds and parameters are read", async (t) => {
  const { kernels } = readPtx(kernel("  ld.param.b64 %rd1, [probe_f16_param_0];\n  @%p1 bra $L1;"));
  t.match(kernels, [{ name: "probe_f16", threads: 128, blocks: 2, parameterBytes: 40 }]);
  t.ok(kernels[0]?.instructions.includes("ld.param.b64"));
  t.ok(kernels[0]?.instructions.includes("bra"), "behind a predicate too");
});

t.test("what keeps the rules passes", async (t) => {
  const good = ["fma.rn.f32", "add.rn.f32", "mul.rn.f32", "div.rn.f32", "sqrt.rn.f32", "ex2.approx.ftz.f32", "add.s32", "mul.wide.u32", "mad.lo.s32"];
  const others = ["ld.global.nc.L1::no_allocate.v4.u32", "ld.global.v4.f32", "atom.acq_rel.gpu.global.add.u32", "max.f32", "cvt.rn.f16.f32", "setp.lt.f32"];
  for (const instruction of [...good, ...others]) t.same(rulesOf(`  ${instruction} %r1, %r2, %r3;`), [], instruction);
});

t.test("each planted offence is seen", async (t) => {
  const planted = {
    "without .rn": ["mul.f32", "add.f32", "sub.f32", "add.f64", "mul.ftz.f32", "fma.rz.f32", "add.rm.f32", "fma.f32"],
    flushes: ["add.rn.ftz.f32", "fma.rn.ftz.f32"],
    "not listed": ["sin.approx.f32", "rsqrt.approx.ftz.f32", "div.approx.f32", "ex2.approx.f32", "tanh.approx.f32"],
    atomic: ["atom.global.add.f32", "red.global.add.f32", "red.relaxed.gpu.global.add.f32", "atom.global.gpu.add.noftz.f16x2"],
    "local memory": ["ld.local.u32", "st.local.f32", ".local .align"],
    "read-only": ["ld.global.nc.f32", "ld.global.nc.v4.u32"],
    texture: ["tex.2d.v4.f32.f32", "suld.b.1d.b32.trap"],
  };
  for (const [rule, instructions] of Object.entries(planted)) {
    for (const instruction of instructions) {
      for (const prefix of ["", "@%p1 ", "@!%p3 "]) t.match(rulesOf(`  ${prefix}${instruction} %f1, %f2, %f3;`), [new RegExp(rule)], prefix + instruction);
    }
  }
});

t.test("an LZ4 block is unpacked, a damaged one is refused", async (t) => {
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const block = Uint8Array.from([0x35, 0x61, 0x62, 0x63, 3, 0, 0x10, 0x21]);
  t.equal(text(lz4Block(block, 13)), "abcabcabcabc!", "literals, a match that overlaps itself, last literals");
  const long = Uint8Array.from([0x1f, 0x7a, 1, 0, 255, 1, 0x10, 0x2e]);
  t.equal(text(lz4Block(long, 1 + 4 + 15 + 255 + 1 + 1)), `${"z".repeat(276)}.`, "lengths of several bytes");
  t.throws(() => lz4Block(block, 12), /LZ4/);
  t.throws(() => lz4Block(Uint8Array.from([0x35, 0x61, 0x62, 0x63, 9, 0, 0x10, 0x21]), 13), /LZ4/, "a match from before the beginning");
  t.throws(() => imagesOf(new Uint8Array(64)), /not a fatbin/);
});

import t from "tap";
import { createRandom, shuffled } from "../../dist/workload/random.js";

const first = (seed: number, stream: number): number[] => {
  const random = createRandom(seed, stream);
  return [random(), random(), random()];
};

t.test("a seed and stream give the same numbers again, others give others", (t) => {
  t.same(first(1, 2), first(1, 2));
  t.notSame(first(1, 2), first(1, 3));
  t.notSame(first(1, 2), first(2, 2));
  t.notSame(first(1, 2), first(2, 1));
  t.end();
});

t.test("numbers lie in [0, 1) and are spread evenly", (t) => {
  const random = createRandom(5);
  const buckets = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const bucket = Math.floor(random() * 10);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  t.equal(buckets.length, 10, "nothing outside [0, 1)");
  for (const count of buckets) t.ok(count > 850 && count < 1150, `${count} of 10000 in a tenth`);
  t.end();
});

t.test("a shuffle holds every index once", (t) => {
  const order = [...shuffled(50, createRandom(3))];
  t.same([...order].sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i));
  t.notSame(order, Array.from({ length: 50 }, (_, i) => i));
  t.same([...shuffled(0, createRandom(3))], []);
  t.same([...shuffled(1, createRandom(3))], [0]);
  t.end();
});

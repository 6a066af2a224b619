import t from "tap";
import { mean, median, percentile, spread } from "../../dist/workload/statistics.js";

t.test("a percentile is the nearest rank, always one of the values", (t) => {
  const values = [15, 20, 35, 40, 50];
  t.equal(percentile(values, 30), 20);
  t.equal(percentile(values, 40), 20);
  t.equal(percentile(values, 50), 35);
  t.equal(percentile(values, 99), 50);
  t.equal(percentile(values, 100), 50);
  t.equal(percentile(values, 0), 15);
  t.equal(percentile([7], 50), 7);
  t.end();
});

t.test("order of the values does not matter and they are left as they were", (t) => {
  const values = [10, 9, 100, 1];
  t.equal(percentile(values, 50), 9);
  t.equal(median(values), 9.5);
  t.same(spread(values), { median: 9.5, min: 1, max: 100 });
  t.same(values, [10, 9, 100, 1]);
  t.end();
});

t.test("no values have no statistics", (t) => {
  t.equal(percentile([], 50), null);
  t.equal(median([]), null);
  t.equal(mean([]), null);
  t.equal(spread([]), null);
  t.end();
});

t.test("the median of an even count lies between the middle two, of an odd count it is the middle", (t) => {
  t.equal(median([1, 2]), 1.5);
  t.equal(median([3, 1, 2]), 2);
  t.equal(mean([1, 2, 6]), 3);
  t.end();
});

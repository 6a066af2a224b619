// CSV after RFC 4180, with "\n" between records.

export type CsvValue = string | number | null;

/** A field is quoted only where it must be: comma, quote or line break in it. Null is an empty field. */
export function csvField(value: CsvValue): string {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Records with a final line break; no rows: an empty text. */
export function csvText(rows: readonly (readonly CsvValue[])[]): string {
  return rows.map((row) => `${row.map(csvField).join(",")}\n`).join("");
}

// Python's strftime in English, local time, for templates that print the date. Knows no clock.
import { IroriError } from "../base/mod.ts";

const months = "January February March April May June July August September October November December".split(" ");
const days = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");
const two = (value: number): string => String(value).padStart(2, "0");

const directives: Readonly<Record<string, (time: Date) => string>> = {
  Y: (time) => String(time.getFullYear()),
  y: (time) => two(time.getFullYear() % 100),
  m: (time) => two(time.getMonth() + 1),
  d: (time) => two(time.getDate()),
  e: (time) => String(time.getDate()).padStart(2, " "),
  H: (time) => two(time.getHours()),
  I: (time) => two(time.getHours() % 12 || 12),
  M: (time) => two(time.getMinutes()),
  S: (time) => two(time.getSeconds()),
  p: (time) => (time.getHours() < 12 ? "AM" : "PM"),
  B: (time) => months[time.getMonth()] as string,
  b: (time) => (months[time.getMonth()] as string).slice(0, 3),
  A: (time) => days[time.getDay()] as string,
  a: (time) => (days[time.getDay()] as string).slice(0, 3),
  F: (time) => formatTime(time, "%Y-%m-%d"),
  T: (time) => formatTime(time, "%H:%M:%S"),
  "%": () => "%",
};

export function formatTime(time: Date, format: string): string {
  return format.replace(/%(-?)([\s\S])/g, (whole, dash: string, letter: string) => {
    const directive = directives[letter];
    if (directive !== undefined) return dash ? directive(time).replace(/^[0 ](?=.)/, "") : directive(time);
    throw new IroriError("unsupported", {
      what: "the chat template prints the time with a directive that Irori does not know",
      got: whole,
      wanted: `%${Object.keys(directives).join(" %")}`,
      next: "ask without a time",
    });
  });
}

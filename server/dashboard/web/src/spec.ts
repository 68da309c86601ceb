// What a chart is, apart from its numbers: the same in a page, where Go writes
// it into the figure, and in a job of package render.
import type { Annotation, Answer, Reading } from "./answer";

export type Kind =
  | "line" | "area" | "share" | "portion" | "columns"
  | "rank" | "split" | "matrix" | "likely"
  | "sankey" | "worldmap" | "timeline" | "heat";

export interface Spec extends Reading {
  id: string;
  kind: Kind;
  title: string;
  /** The metric's: "", "B", "B/s", "µs", "%", "d". */
  unit: string;
  /** Of a split, matrix or heat: the word of by whose values are its columns. */
  columns?: string;
  /** Of a matrix whose columns overlap: how much there is of each row in all. */
  wholes?: Record<string, number>;
  /** Of a Sankey: the words of by, from left to right; those of the answer if not set. */
  levels?: string[];
  /** On the axis of time, beside those of the answer. */
  annotations?: Annotation[];
  /** The answer for the time before, if the answer has none itself. */
  before?: Answer;
  /** Draw the interval that rows' low and high give. */
  band?: boolean;
}

export interface Size {
  width: number;
  height: number;
  /** A picture, which nobody can point at. */
  still?: boolean;
}

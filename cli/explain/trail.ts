// What `tenon explain` has found on a packet's way, step by step, up to where it stops.

export interface Step {
  /** "pod web", "node", or whatever the step is at. */
  at: string;
  /** "link", "route", "neighbour", ... */
  what: string;
  detail: string;
  /** `note`: the packet passes, but somebody should look. */
  state: "ok" | "note" | "stops";
}

/** Ends the way. */
export class Stop extends Error {}

export class Trail {
  readonly steps: Step[] = [];

  ok(at: string, what: string, detail: string): void {
    this.steps.push({ at, what, detail, state: "ok" });
  }

  note(at: string, what: string, detail: string): void {
    this.steps.push({ at, what, detail, state: "note" });
  }

  /** The end, to be thrown. */
  stop(at: string, what: string, detail: string): Stop {
    this.steps.push({ at, what, detail, state: "stops" });
    return new Stop(detail);
  }

  /** Where the way ends before its end. */
  get stopped(): Step | undefined {
    return this.steps.find(({ state }) => state === "stops");
  }
}

/** Walks a way until it ends or stops. */
export function follow(walk: (trail: Trail) => void): Trail {
  const trail = new Trail();
  try {
    walk(trail);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
  }
  return trail;
}

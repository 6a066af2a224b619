// What every command's action runs in.

export interface CommandContext {
  /** Fires on Ctrl-C. */
  signal: AbortSignal;
  /** From here on Ctrl-C is the command's own affair. */
  releaseInterrupt: () => void;
}

/** A command's work; what it resolves with is the exit code, nothing means 0. */
export type Action<Given> = (given: Given, context: CommandContext) => Promise<number | void>;

/** Makes of a command's work an action for commander. */
export type Runner = <Given>(action: Action<Given>) => (given: Given) => Promise<void>;

// The agent of this node, asked over its own address: is it there, and is it ready?

export interface AgentState {
  state: "ready" | "waiting" | "none";
  /** What it waits for. */
  waits?: string[];
}

/** Nobody answering is no fault: not every node has an agent. */
export async function askAgent(address: string): Promise<AgentState> {
  let answer: Response;
  try {
    answer = await fetch(`http://${address}/readyz`, { signal: AbortSignal.timeout(1000) });
  } catch {
    return { state: "none" };
  }
  if (answer.ok) return { state: "ready" };
  const text = await answer.text();
  return { state: "waiting", waits: text.split("\n").filter((line) => line !== "") };
}

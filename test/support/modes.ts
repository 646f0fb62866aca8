// How steps and networks run: what trains, evaluates or predicts is tested both ways.

export const modes = ['compiled', 'eager'] as const;

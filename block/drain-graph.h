/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of drain that the gate and the users call: waking the one who waits. */
#ifndef BLOCK_DRAIN_GRAPH_H
#define BLOCK_DRAIN_GRAPH_H

typedef struct DrainedGraph DrainedGraph;

/* Something that the drain waits for went down.  Graph's loop. */
void drained_graph_progress(DrainedGraph *graph);

#endif

import networkx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.quality.clusters import Clusters, equal_pairs

pairs = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(pairs=pairs)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_clusters_are_connected_components_named_by_their_first_row(pairs):
    clusters = Clusters(20)
    clusters.join([np.array(pairs, dtype=np.int64).reshape(-1, 2)])
    graph = networkx.Graph(pairs)
    graph.add_nodes_from(range(20))
    expected = {row: min(some) for some in networkx.connected_components(graph) for row in some}
    assert clusters.first().tolist() == [expected[row] for row in range(20)]


def test_equal_keys_are_chained_from_the_first_on():
    keys = np.array([5, 7, 5, 9, 5], dtype=np.uint64)
    assert equal_pairs(keys).tolist() == [[0, 2], [2, 4]]
    assert equal_pairs(keys[:0]).shape == (0, 2)

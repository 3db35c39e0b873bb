"""BPR-MF: its formula, the L2 penalty, and sparse gradients."""

import torch
from retrieval_models import N_ROWS, N_USERS, assert_equal, bpr_mf, training_batch

from recsweep.losses.ranking import InBatch


@torch.no_grad()
def test_scores_by_hand() -> None:
    model = bpr_mf()
    weight = model.table.rows.weight.tolist()
    for user in range(N_USERS):
        p = weight[user][:3]
        scores = [sum(a * b for a, b in zip(p, row, strict=False)) + row[3] for row in weight[N_USERS:]]
        assert_equal(model.score_all(torch.tensor([user]))[0], torch.tensor(scores))


def test_l2_penalises_a_vector_in_each_of_its_rows() -> None:
    """0.5 · mean over rows of |p_u|² + |q_i|², without biases."""
    plain, penalised = bpr_mf(), bpr_mf("regularization.l2=0.5")
    batch, vectors = training_batch(plain), plain.table.rows.weight[:, :3].detach()
    expected = sum(
        vectors[user].square().sum() + vectors[N_USERS + item].square().sum()
        for user, item in zip(batch.user, batch.item, strict=True)
    )
    assert_equal(penalised.training_loss(batch) - plain.training_loss(batch), 0.5 * expected / N_ROWS)


def test_sparse_gradients_equal_dense_ones() -> None:
    loss = InBatch(n_shared=0, log_q=True)
    dense, sparse = bpr_mf(loss=loss), bpr_mf("optimizer=sparse_adam", "regularization=none", loss=loss)
    for model in (dense, sparse):
        model.training_loss(training_batch(model)).backward()
    gradient = sparse.table.rows.weight.grad
    assert gradient.is_sparse
    assert_equal(gradient.to_dense(), dense.table.rows.weight.grad)

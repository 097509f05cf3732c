"""The vocabulary: one folder a family, one file a primitive; the file's name is the recipe's `kind`.

A primitive's file holds, in this order: a docstring with the formula, shapes, units and source; `Parameters`, the table
of the recipe; its mathematics as pure functions of tensors; and `PRIMITIVE`, which ties them. Lowering binds a
function's arguments by name, so the names are a vocabulary of their own:

    z        the point, `(batch, *input)`; for a projection the new point
    old      the point before the move
    anchor   the sampler's variable when it started
    g        a gradient at z; `drift` what a kernel adds to z, times its step size
    xi, u    fresh draws of z's shape: standard normal, uniform in [0, 1)
    logits   the network's output at z, `(batch, classes)`; y the labels, `(batch,)`
    clean    its output at the batch's x at the same weights and in the same mode, of logits' shape; `clean_again` the
             same once more. Constant in a target, and differentiated in an objective
    worst    logits as bad as interval bounds let them be in a ball around the point, of logits' shape, up to a number
             for each example

Every other argument is a field of `Parameters`. Functions are free of closures and use no global but `torch`, `math`,
and functions of their own file or of `primitives/tensors.py`: they are taken into generated modules as source.
"""

"""Models that none of us exported: what an ONNX file is, and what it takes to serve it.

file    ->  what stands in it                                   file.py, flow.py
reading ->  which input is what, how sure that is, and why      names.py, pairing.py, axes.py
proof   ->  that it holds, in onnxruntime set up as when serving
import  ->  config.pbtxt and the graph, whole or not at all
"""

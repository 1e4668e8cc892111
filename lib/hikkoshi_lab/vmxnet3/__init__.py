"""The proof on the device that it is about: a moved gateway on vmxnet3, with a driver as it was before 2015."""

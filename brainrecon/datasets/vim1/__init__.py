"""Natural pictures in grey that two people saw (Kay et al. 2008), vim-1 of CRCNS and its open copy at OSF."""

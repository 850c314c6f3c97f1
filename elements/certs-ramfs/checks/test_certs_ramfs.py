"""What certs-ramfs starts at boot, when nobody looks."""

import pytest


@pytest.mark.parametrize("module", ["brd", "dm_crypt"])
def test_kernel_module(host, module):
    """Every kernel of the image has what the encrypted file system in memory is made of"""
    kernels = host.file("/lib/modules").listdir()
    assert kernels
    for kernel in kernels:
        assert host.run("modinfo -k %s %s", kernel, module).succeeded, kernel


@pytest.mark.parametrize("program", ["cryptsetup", "mkfs.ext2", "findmnt", "modprobe"])
def test_program(host, program):
    """The programs that it calls are installed"""
    assert host.exists(program)

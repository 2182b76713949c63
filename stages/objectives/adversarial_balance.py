"""Who learns in a step of two players: the rule of Shen et al. 2019, after Dosovitskiy and Brox 2016."""


class Balance:
    """Which of the two players learns: the better one waits, so that neither runs away.

    The ratio is that of the discriminator's losses, on shown and on drawn pictures together, to the generator's adversarial
    one. Below 0.1 the discriminator stops; once it is above 0.5 again both learn. Above 10 the generator stops, until the
    discriminator does.
    """

    def __init__(self, discriminator=True, generator=True):
        self.discriminator, self.generator = discriminator, generator

    def update(self, shown, drawn, adversarial):
        """Take the losses of a step."""
        ratio = (shown + drawn) / max(adversarial, 1e-12)
        if ratio < 0.1 and self.discriminator:
            self.discriminator, self.generator = False, True
        if ratio > 0.5 and not self.discriminator:
            self.discriminator, self.generator = True, True
        if ratio > 10 and self.generator:
            self.discriminator, self.generator = True, False
